"""Proves that an exported model gives its checkpoint's scores on a machine: `lifeiqa-conformance`."""
