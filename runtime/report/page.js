// The table: sorted and filtered in memory, with elements only for the rows that are seen. Texts are set as texts.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const [find, above, below, clear] = ["find", "above", "below", "clear"].map(byId);
  const [scroller, canvas, shown] = ["scroller", "canvas", "shown"].map(byId);
  const gradeButtons = [...document.querySelectorAll("[data-grade]")];
  const count = data.name.length;
  const pathOf = (k) => data.folders[data.folder[k]] + data.name[k];
  const gradeOf = (k) => data.score[k] === null ? "failed" : data.grade[k] === "-" ? "" : data.grades[+data.grade[k]];
  const state = { find: "", above: NaN, below: NaN, grades: new Set(), sort: "score", down: false };
  let order = new Int32Array(0), searchable = null, byName = null;

  function nameOrder() {
    if (!byName) {
      const paths = Array.from({ length: count }, (_, k) => pathOf(k));
      byName = Int32Array.from(paths.keys()).sort((a, b) =>
        paths[a] < paths[b] ? -1 : paths[a] > paths[b] ? 1 : (data.frame[a] ?? 0) - (data.frame[b] ?? 0));
    }
    return byName;
  }

  function select() {
    const wanted = state.find.toLowerCase().trim();
    if (wanted && !searchable) {
      const texts = data.texts.map((text) => "\n" + text.toLowerCase());
      searchable = Array.from({ length: count }, (_, k) => pathOf(k).toLowerCase() + texts[data.text[k]]);
    }
    const from = state.sort === "name" ? nameOrder() : null;  // rows come with the worst first, failures last
    const found = new Int32Array(count);
    let n = 0;
    for (let i = 0; i < count; i++) {
      const k = from ? from[i] : i, score = data.score[k];
      if (state.grades.size && !state.grades.has(gradeOf(k))) continue;
      if (!isNaN(state.above) && !(score !== null && score >= state.above)) continue;
      if (!isNaN(state.below) && !(score !== null && score < state.below)) continue;
      if (wanted && !searchable[k].includes(wanted)) continue;
      found[n++] = k;
    }
    order = found.subarray(0, n);
    if (state.down) order.reverse();
  }

  function element(kind, className, text) {
    const made = document.createElement(kind);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function cell(className, ...children) {
    const made = element("span", className);
    made.setAttribute("role", "cell");
    made.append(...children);
    return made;
  }

  const low = data.low, span = data.high - data.low;
  function rowOf(place, height) {
    const k = order[place], score = data.score[k], grade = gradeOf(k), text = data.texts[data.text[k]];
    const row = element("div", "row");
    row.setAttribute("role", "row");
    row.setAttribute("aria-rowindex", place + 2);
    row.style.top = place * height + "px";
    const value = cell("value " + (grade === "failed" ? "" : grade || "plain"),
      element("b", "", score === null ? "–" : score.toFixed(data.digits)));
    if (score !== null && span > 0) {
      const bar = element("i");
      bar.style.setProperty("--share", 100 * Math.min(1, Math.max(0, (score - low) / span)) + "%");
      value.append(bar);
    }
    const path = cell("path", element("span", "folder", data.folders[data.folder[k]]), element("span", "file", data.name[k]));
    path.title = pathOf(k);
    if (data.frame.length && data.frame[k] !== null) {
      const time = data.time[k] === null ? "" : ", " + data.time[k].toFixed(2) + " s";
      path.append(element("span", "frame", "frame " + data.frame[k] + time));
    }
    const note = cell("text", text);
    note.title = text;
    row.append(value, cell("", ...(grade ? [element("span", "grade " + grade, grade)] : [])), path, note);
    return row;
  }

  let drawn = "";
  function draw(anew) {
    const height = parseFloat(getComputedStyle(canvas).getPropertyValue("--row"));
    canvas.style.height = order.length ? order.length * height + "px" : "auto";  // first: the scroller grows with it
    const first = Math.max(0, Math.floor(scroller.scrollTop / height) - 8);
    const last = Math.min(order.length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / height) + 8);
    const what = [first, last, height].join();
    if (!anew && what === drawn) return;
    drawn = what;
    const rows = [];
    for (let place = first; place < last; place++) rows.push(rowOf(place, height));
    canvas.replaceChildren(...(order.length ? rows : [element("p", "empty", "No row matches.")]));
  }

  function update() {
    select();
    const all = count.toLocaleString("en"), some = order.length.toLocaleString("en");
    shown.textContent = order.length === count ? all + " rows" : some + " of " + all + " rows";
    const filtered = state.find || !isNaN(state.above) || !isNaN(state.below) || state.grades.size;
    clear.hidden = !filtered;
    byId("rows").setAttribute("aria-rowcount", order.length + 1);
    for (const name of ["score", "name"]) {
      const head = byId("by-" + name);
      if (state.sort === name) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    if (data.lower && state.sort === "score")  // rows come with the worst first, here the highest score
      byId("by-score").setAttribute("aria-sort", state.down ? "ascending" : "descending");
    for (const button of gradeButtons) button.setAttribute("aria-pressed", state.grades.has(button.dataset.grade));
    scroller.scrollTop = 0;
    draw(true);
  }

  // The address holds the filter, such as #below=40&grade=bad,poor&find=hall&sort=-name: it can be kept and sent.
  function toHash() {
    const values = new URLSearchParams();
    if (state.find) values.set("find", state.find);
    if (!isNaN(state.above)) values.set("above", state.above);
    if (!isNaN(state.below)) values.set("below", state.below);
    if (state.grades.size) values.set("grade", [...state.grades].join(","));
    if (state.sort !== "score" || state.down) values.set("sort", (state.down ? "-" : "") + state.sort);
    try {
      history.replaceState(null, "", "#" + values.toString().replaceAll("%2C", ","));
    } catch { /* a page inside another may have no history */ }
    update();
  }

  function fromHash() {
    const values = new URLSearchParams(location.hash.slice(1));
    const numberOf = (name) => values.get(name) ? Number(values.get(name)) : NaN;
    const sort = values.get("sort") ?? "score", known = new Set(gradeButtons.map((button) => button.dataset.grade));
    state.find = values.get("find") ?? "";
    state.above = numberOf("above");
    state.below = numberOf("below");
    state.grades = new Set((values.get("grade") ?? "").split(",").filter((grade) => known.has(grade)));
    state.sort = sort.endsWith("name") ? "name" : "score";
    state.down = sort.startsWith("-");
    find.value = state.find;
    above.value = isNaN(state.above) ? "" : state.above;
    below.value = isNaN(state.below) ? "" : state.below;
    update();
    return [...values.keys()].some((name) => ["find", "above", "below", "grade", "sort"].includes(name));
  }

  let waiting = 0;
  const later = (what) => { clearTimeout(waiting); waiting = setTimeout(what, 120); };
  find.addEventListener("input", () => later(() => { state.find = find.value; toHash(); }));
  for (const field of [above, below])
    field.addEventListener("input", () => later(() => { state[field.id] = field.valueAsNumber; toHash(); }));
  for (const button of gradeButtons) button.addEventListener("click", () => {
    const grade = button.dataset.grade;
    if (!state.grades.delete(grade)) state.grades.add(grade);
    toHash();
  });
  clear.addEventListener("click", () => {
    Object.assign(state, { find: "", above: NaN, below: NaN, grades: new Set() });
    find.value = above.value = below.value = "";
    toHash();
    find.focus();
  });
  for (const button of document.querySelectorAll("[data-sort]")) button.addEventListener("click", () => {
    const same = state.sort === button.dataset.sort;
    Object.assign(state, { sort: button.dataset.sort, down: same && !state.down });
    toHash();
  });
  let asked = false;
  scroller.addEventListener("scroll", () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(false); });
  }, { passive: true });
  addEventListener("resize", () => draw(false));
  addEventListener("hashchange", () => { if (fromHash()) byId("table").scrollIntoView(); });

  for (const button of document.querySelectorAll(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.previousElementSibling;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        getSelection().selectAllChildren(code);
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
  byId("browser").hidden = false;
  fromHash();
})();
