// The table of all answers, as find.js finds and answer.js draws them. What is shown stands in the address behind the #,
// and nowhere else: any view and any single answer has a link, and the browser's back button works. Texts become text
// nodes and never HTML.
"use strict";

const gpt4sceneReport = (() => {
  const LINES_SHOWN = 30;
  const LINES_FIRST = 12; // rows that are drawn at once; the others follow when these are on the screen
  const REST = 300; // ms without a further change before a change that is no step of its own stands in the address
  const { TASK, TYPE, SCENE, PLACE, ID, QUESTION, ANSWER, EXPECTED, METRIC, WORDS } = gpt4scenePlaces;
  const KEYS = ["q", "task", "type", "verdict", "scene", "label", "cut", "sort", "page", "answer"];
  const FILTERS = ["task", "type", "verdict", "scene", "label"];
  const COLUMNS = {
    task: "benchmark", type: "type", verdict: "verdict", scene: "scene", id: "question id", question: "question",
    answer: "answer", expected: "expected", label: "object", figure: "figure", words: "words",
  };

  let head = null; // what all lines share; see answer_data.py
  const lines = []; // of all scenes, in their order
  let finder = null, answers = null; // of find.js and answer.js
  let received = 0; // parts
  let broken = false; // a part will never come
  let state = null;
  let unwritten = 0; // a timer, while the address is behind the state
  let later = []; // lines of the page shown whose rows are not drawn yet
  let shown = { key: "", found: [], page: 1, pages: 1 }; // lines that pass the filters, in their order
  let byKey = new Map(); // name of an answer -> its number; made when the first is asked for
  const at = (id) => document.getElementById(id);
  const search = () => document.querySelector(".filters [name=q]");

  // ---- the address

  function read(hash) {
    const said = new URLSearchParams(hash.slice(1));
    const found = {};
    for (const key of KEYS) found[key] = said.get(key) || "";
    return found;
  }

  function addressOf(wanted) {
    const said = new URLSearchParams();
    for (const key of KEYS) if (wanted[key]) said.set(key, wanted[key]);
    return `#${said}`;
  }

  const isView = (hash) => hash === "" || hash === "#" || hash.includes("=");

  // Write the state to the address. The page stays where it is, which it would not for an address that becomes empty.
  function write(how) {
    clearTimeout(unwritten);
    unwritten = 0;
    const address = addressOf(state);
    history[how](null, "", location.href.split("#")[0] + (address === "#" ? "" : address));
  }

  function writeRest() {
    if (unwritten) write("replaceState");
  }

  // Show what `change` makes of the present state. A step of its own in the history, unless it `replaces` the last one.
  function go(change, replaces = false) {
    const next = { ...state, ...change };
    if (addressOf(next) === addressOf(state)) return;
    if (!replaces) writeRest();
    show(next);
    clearTimeout(unwritten);
    if (replaces) unwritten = setTimeout(writeRest, REST);
    else write("pushState");
  }

  // ---- the table

  const keyOf = (line) => `${head.scenes[line[SCENE]][0]}/${head.tasks[line[TASK]][0]}-${line[PLACE]}`;

  function row(number) {
    const { element, marked, short } = answers;
    const line = lines[number];
    const fold = (text, most = 80) => element("span", { dir: "auto" }, ...marked(short(text, most)));
    const open = element("a", { class: "open", tabindex: "-1" }, fold(line[QUESTION] || "(no question)", 120));
    const expected = line[EXPECTED].join(" | ");
    const cells = {
      task: [head.tasks[line[TASK]][1]], type: [head.kinds[line[TYPE]]], verdict: answers.pill(line),
      scene: [head.scenes[line[SCENE]][0]], id: [line[ID]], question: [open],
      answer: [line[ANSWER].trim() ? fold(line[ANSWER]) : element("span", { class: "soft" }, "(empty)")],
      expected: expected ? [fold(expected)] : [], label: [finder.label(line)], figure: [answers.figure(line)], words: [line[WORDS]],
    };
    const made = element("tr", { "data-number": number });
    for (const [name, inside] of Object.entries(cells)) {
      made.append(element("td", { class: `col-${name}`, "data-name": COLUMNS[name] }, ...inside.filter((one) => one !== "")));
    }
    made.querySelector(".col-figure").title = `${head.metrics[line[METRIC]]} × 100`;
    return made;
  }

  // Show the lines `here`, the first ones at once. A row that stays keeps its element, and the focus its row; where that
  // is gone, its place.
  function showRows(here) {
    const body = document.querySelector(".all tbody"), frame = body.closest(".wide");
    const before = [...body.querySelectorAll("tr[data-number]")];
    const kept = new Map(before.map((one) => [Number(one.dataset.number), one]));
    const focused = before.findIndex((one) => one.contains(document.activeElement));
    const first = here.findIndex((number, place) => place >= LINES_FIRST && !kept.has(number));
    const rows = (first < 0 ? here : here.slice(0, first)).map((number) => kept.get(number) || row(number));
    later = first < 0 ? [] : here.slice(first);
    frame.style.minHeight = later.length && before.length ? `${frame.offsetHeight}px` : ""; // so that what stands below it does not jump
    if (rows.length !== before.length || rows.some((one, place) => one !== before[place])) {
      body.replaceChildren(...rows);
      if (focused >= 0) {
        const open = rows.includes(before[focused]) ? before[focused] : rows[Math.min(focused, rows.length - 1)];
        choose(open && open.querySelector("a.open"), { preventScroll: true });
      }
    }
    link();
    if (later.length) requestAnimationFrame(() => setTimeout(showLater));
    if (!here.length && received === head.parts) {
      const none = head.lines ? "No answer fits. Clear the search and the filters to see all." : "There are no answers.";
      body.replaceChildren(answers.element("tr", {}, answers.element("td", { colspan: "11" }, none)));
    }
  }

  function showLater() {
    if (!later.length) return;
    const body = document.querySelector(".all tbody");
    body.append(...later.map(row));
    later = [];
    body.closest(".wide").style.minHeight = "";
    link();
  }

  // Let every row lead to its answer within the present view, and Tab to one of them.
  function link() {
    const links = opens();
    for (const open of links) open.href = addressOf({ ...state, answer: keyOf(lines[numberIn(open)]) });
    if (links.length && !links.some((open) => open.tabIndex === 0)) links[0].tabIndex = 0;
  }

  function showTable() {
    const key = addressOf({ ...state, page: "", answer: "" }) + lines.length;
    if (shown.key !== key) shown = { key, found: finder.find(state) };
    shown.pages = Math.max(1, Math.ceil(shown.found.length / LINES_SHOWN));
    shown.page = Math.min(Math.max(1, Number.parseInt(state.page, 10) || 1), shown.pages);
    const from = (shown.page - 1) * LINES_SHOWN;
    showRows(shown.found.slice(from, from + LINES_SHOWN));
    const what = broken ? "could not be read" : "still being read";
    const all = received === head.parts ? "" : ` (${answers.counted(head.lines - lines.length, "answer")} ${what})`;
    at("found").textContent = `${shown.found.length.toLocaleString("en")} of ${answers.counted(head.lines, "answer")}${state.cut ? ", those cut off" : ""}${all}`;
    at("page").textContent = `page ${shown.page.toLocaleString("en")} of ${shown.pages.toLocaleString("en")}`;
    document.querySelector("[data-do=before]").disabled = shown.page === 1;
    document.querySelector("[data-do=next]").disabled = shown.page === shown.pages;
    document.querySelector("[data-do=clear]").disabled = !["q", "cut", "sort", ...FILTERS].some((name) => state[name]);
    for (const header of document.querySelectorAll(".all th")) {
      const name = header.firstElementChild.dataset.sort;
      if (state.sort.replace(/^-/, "") === name) header.setAttribute("aria-sort", state.sort.startsWith("-") ? "descending" : "ascending");
      else header.removeAttribute("aria-sort");
    }
  }

  const withCount = (count, text) => `${text} (${count.toLocaleString("en")})`;

  // Give a list its options, unless it has these already, and choose the one of the state.
  function fill(name, of, options) {
    const list = document.querySelector(`.filters [name=${name}]`);
    if (list.dataset.of !== of) {
      list.replaceChildren(answers.element("option", { value: "" }, name === "sort" ? "as asked" : "all"));
      list.append(...options().map(([value, text]) => answers.element("option", { value }, text)));
      list.dataset.of = of;
    }
    const wanted = state[name];
    if (wanted && ![...list.options].some((option) => option.value === wanted)) {
      list.append(answers.element("option", { value: wanted }, withCount(0, wanted)));
    }
    list.value = wanted;
  }

  function types() {
    const counts = new Map();
    for (const [task, kind, count] of head.kindsOf) {
      const fits = !state.task || head.tasks[task][0] === state.task;
      if (head.kinds[kind] && fits) counts.set(kind, (counts.get(kind) || 0) + count);
    }
    const inOrder = [...counts].sort(([one], [other]) => one - other);
    return inOrder.map(([kind, count]) => [head.kinds[kind], withCount(count, head.kinds[kind])]);
  }

  function showFilters() {
    fill("task", "all", () => head.tasks.map(([name, title, count]) => [name, withCount(count, title)]));
    fill("type", `of ${state.task}`, types);
    fill("verdict", "all", () => head.verdicts.filter(([, count]) => count).map(
      ([name, count]) => [name || "none", withCount(count, name || "not judged")]));
    fill("scene", "all", () => head.scenes.map(([name, , count]) => [name, withCount(count, name)]));
    fill("label", "all", () => head.labels.map(([name, count]) => [name, withCount(count, name)]));
    fill("sort", "all", () => Object.entries(COLUMNS).flatMap(
      ([name, title]) => [[name, `${title}, up`], [`-${name}`, `${title}, down`]]));
    if (search().value !== state.q && document.activeElement !== search()) search().value = state.q;
  }

  // ---- a single answer

  function numberOf(key) {
    if (byKey.size < lines.length) byKey = new Map(lines.map((line, number) => [keyOf(line), number]));
    return byKey.get(key);
  }

  async function showAnswer() {
    const dialog = at("answer");
    if (!state.answer) {
      if (dialog.open) dialog.close();
      return;
    }
    const inside = dialog.querySelector(".content");
    const number = numberOf(state.answer);
    const place = number === undefined ? -1 : shown.found.indexOf(number);
    dialog.querySelector("[data-do=earlier]").disabled = place <= 0;
    dialog.querySelector("[data-do=later]").disabled = place < 0 || place + 1 >= shown.found.length;
    at("answer-title").textContent = state.answer;
    if (!dialog.open) dialog.showModal();
    at("answer-title").focus();
    if (number === undefined) {
      const reading = received < head.parts;
      inside.replaceChildren(answers.element("p", {}, reading ? "The answers are still being read." : "This report has no such answer. The link may be of another report."));
      return;
    }
    const part = head.partOf(number);
    const asked = state.answer;
    try {
      const found = await answers.load(part.number);
      if (state.answer === asked) inside.replaceChildren(...answers.content(lines[number], found[number - part.first]));
    } catch (error) {
      inside.replaceChildren(answers.element("p", { class: "warning" }, error.message));
    }
  }

  const pageAt = (place) => (place < LINES_SHOWN ? "" : String(Math.floor(place / LINES_SHOWN) + 1));

  function step(by) {
    const place = shown.found.indexOf(numberOf(state.answer)) + by;
    if (place >= 0 && place < shown.found.length) go({ answer: keyOf(lines[shown.found[place]]), page: pageAt(place) }, true);
  }

  function closeAnswer() {
    const number = numberOf(state.answer);
    const place = shown.found.indexOf(number);
    go({ answer: "", ...(place < 0 ? {} : { page: pageAt(place) }) });
    showLater();
    choose(opens().find((open) => numberIn(open) === number) || opens()[0]);
  }

  // ---- keys and buttons

  const opens = () => [...document.querySelectorAll(".all a.open")];
  const numberIn = (open) => Number(open.closest("tr").dataset.number);

  // Make a row the one that Tab leads to, and go there; to the search field where there is none.
  function choose(open, how = {}) {
    if (!open) return search().focus(how);
    for (const other of opens()) other.tabIndex = other === open ? 0 : -1;
    open.focus(how);
  }

  function move(by) {
    showLater();
    const place = opens().indexOf(document.activeElement) + by;
    if (opens()[place]) return choose(opens()[place]);
    if (shown.page + by >= 1 && shown.page + by <= shown.pages) {
      turn(by, true);
      showLater();
      choose(opens().at(by > 0 ? 0 : -1));
    } else if (by < 0) search().focus();
  }

  const turn = (by, replaces) => go({ page: pageAt((shown.page - 1 + by) * LINES_SHOWN) }, replaces);

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select, textarea");
    const inTable = event.target.matches(".all a.open");
    const field = search();
    const acts = {
      "/": !typing && !state.answer && (() => { field.focus(); field.select(); }),
      ArrowDown: (inTable || event.target === field) && (() => (inTable ? move(1) : choose(opens()[0]))),
      ArrowUp: inTable && (() => move(-1)),
      ArrowLeft: state.answer && !typing && (() => step(-1)),
      ArrowRight: state.answer && !typing && (() => step(1)),
      Escape: !state.answer && (inTable ? () => field.focus() : event.target === field && (() => {
        go({ q: "", page: "" });
        field.value = "";
      })),
    };
    const act = acts[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  }

  function listen() {
    const form = document.querySelector(".filters");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => {
      const { name, value } = event.target;
      go({ [name]: name === "q" ? value.trim() : value, page: "", ...(name === "task" ? { type: "" } : {}) }, name === "q");
    });
    const acts = {
      clear: () => { go({ ...read(""), answer: state.answer }); form.elements.q.value = ""; },
      before: () => turn(-1), next: () => turn(1), earlier: () => step(-1), later: () => step(1), close: closeAnswer,
    };
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      writeRest();
      if (button && acts[button.dataset.do]) acts[button.dataset.do]();
      else if (button && button.dataset.sort) {
        const by = button.dataset.sort;
        go({ sort: state.sort === by ? `-${by}` : state.sort === `-${by}` ? "" : by, page: "" });
      } else if (event.target.closest(".all tbody tr") && !event.target.closest("a") && !String(getSelection())) {
        const open = event.target.closest("tr").querySelector("a.open");
        if (open) go({ answer: read(new URL(open.href).hash).answer });
      }
    });
    document.addEventListener("keydown", onKey);
    at("answer").addEventListener("cancel", (event) => { event.preventDefault(); closeAnswer(); });
    at("answer").addEventListener("click", (event) => { if (event.target === at("answer")) closeAnswer(); });
    window.addEventListener("pagehide", writeRest);
    // Comes of links, of the browser's back button and of addresses that somebody types; our own writing is no change.
    window.addEventListener("hashchange", () => {
      clearTimeout(unwritten);
      unwritten = 0;
      const next = read(location.hash);
      if (!isView(location.hash) || addressOf(next) === addressOf(state)) return;
      const foreign = addressOf({ ...next, page: "", answer: "" }) !== addressOf({ ...state, page: "", answer: "" });
      show(next);
      search().value = state.q;
      if (foreign) at("answers").scrollIntoView();
    });
  }

  function show(next) {
    state = next;
    showFilters();
    showTable();
    showAnswer();
  }

  function start() {
    at("table").hidden = false;
    state = read(isView(location.hash) ? location.hash : "");
    listen();
    show(state);
    performance.mark("first rows");
    search().value = state.q;
    if (state.answer === "" && location.hash.includes("=")) at("answers").scrollIntoView();
  }

  // Called when every script of the page has been read, or could not be.
  function end() {
    if (!head) return fail("The answers could not be read");
    if (state === null) start();
    if (received === head.parts) return;
    broken = true;
    fail(`${answers.counted(head.parts - received, "file")} of answers could not be read`);
    showTable();
  }

  function fail(what) {
    at("trouble").textContent = `${what}. Copy the whole folder of the report, not this page alone.`;
    at("trouble").hidden = false;
  }

  document.addEventListener("DOMContentLoaded", end);

  // ---- what the files of data call

  return {
    head(value) {
      head = value;
      finder = gpt4sceneFinder(head, lines);
      answers = gpt4sceneAnswers(head, keyOf, addressOf);
      const starts = [];
      head.began = (number, first) => starts.push({ number, first });
      head.partOf = (number) => starts.findLast((part) => part.first <= number);
    },
    part([number, more]) {
      head.began(number, lines.length);
      for (const line of more) lines.push(line);
      received += 1;
      if (state === null) start();
      else if (received === head.parts) show(state);
      finder.read(); // so that the first search need not
    },
    details: ([number, found]) => answers.loaded(number, found),
  };
})();
