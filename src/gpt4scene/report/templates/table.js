// The table of all answers. What is shown stands in the address behind the #, and nowhere else: any view and any single
// answer has a link, and the browser's back button works. Texts become text nodes and never HTML.
"use strict";

const gpt4sceneReport = (() => {
  const LINES_SHOWN = 30;
  const FOLDED = 1500; // characters from which a text of a single answer is folded
  const TASK = 0, TYPE = 1, VERDICT = 2, SCENE = 3, PLACE = 4, ID = 5, QUESTION = 6, ANSWER = 7, EXPECTED = 8;
  const LABELS = 9, FIGURE = 10, METRIC = 11, WORDS = 12, CUT = 13; // places in a line of data
  const KEYS = ["q", "task", "type", "verdict", "scene", "label", "cut", "sort", "page", "answer"];
  const FILTERS = ["task", "type", "verdict", "scene", "label"];
  const COLUMNS = {
    task: "benchmark", type: "type", verdict: "verdict", scene: "scene", id: "question id", question: "question",
    answer: "answer", expected: "expected", label: "object", figure: "figure", words: "words",
  };
  const VERDICT_NAMES = ["right", "partly", "wrong", "none"];

  let head = null; // what all lines share; see answer_data.py
  let lines = []; // [line, its number in the order of the scenes]
  let received = 0; // parts
  let broken = false; // a part will never come
  let state = null;
  let shown = { key: "", found: [] }; // lines that pass the filters, in their order
  let searched = { lines: 0, ends: null, text: "" };
  const details = new Map(); // part -> details, or the promise of them
  const waiting = new Map(); // part -> function that takes its details
  let byKey = new Map(); // name of an answer -> its number; made when the first is asked for
  const at = (id) => document.getElementById(id);

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

  // Show what `change` makes of the present state. A step of its own in the history, unless it `replaces` the last one.
  function go(change, replaces = false) {
    const next = { ...state, ...change };
    const address = addressOf(next);
    if (address === addressOf(state)) return;
    show(next);
    if (replaces) location.replace(address);
    else location.hash = address;
  }

  // ---- finding

  // All lines as one text in lower case, so that a word is looked for in all of them at once.
  function searchText() {
    if (searched.lines < lines.length) {
      const texts = [];
      let end = 0;
      searched = { lines: lines.length, ends: new Uint32Array(lines.length), text: "" };
      lines.forEach((line, number) => {
        const named = [head.tasks[line[TASK]][1], head.kinds[line[TYPE]], head.scenes[line[SCENE]][0], labelled(line)];
        const text = [line[QUESTION], line[ANSWER], ...line[EXPECTED], line[ID], ...named].join("\n").toLowerCase();
        texts.push(text);
        end += text.length + 1;
        searched.ends[number] = end;
      });
      searched.text = texts.join("\0");
    }
    return searched;
  }

  // Marks for every line whether it has all words.
  function having(words) {
    const { text, ends } = searchText();
    const hits = new Uint8Array(lines.length);
    words.forEach((word, round) => {
      let number = 0;
      for (let place = text.indexOf(word); place >= 0; place = text.indexOf(word, ends[number])) {
        while (ends[number] <= place) number += 1;
        if (hits[number] === round) hits[number] = round + 1;
      }
    });
    return hits.map((count) => count === words.length);
  }

  function indexOf(values, wanted, name = (value) => value) {
    return wanted ? values.findIndex((value) => name(value) === wanted) : null;
  }

  function filtered(wanted) {
    const words = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
    const first = (value) => value[0];
    const task = indexOf(head.tasks, wanted.task, first), type = indexOf(head.kinds, wanted.type);
    const verdict = indexOf(VERDICT_NAMES, wanted.verdict), scene = indexOf(head.scenes, wanted.scene, first);
    const label = indexOf(head.labels, wanted.label, first);
    const hits = words.length ? having(words) : null;
    const found = [];
    for (let number = 0; number < lines.length; number += 1) {
      const line = lines[number];
      if (task !== null && line[TASK] !== task) continue;
      if (type !== null && line[TYPE] !== type) continue;
      if (verdict !== null && line[VERDICT] !== verdict) continue;
      if (scene !== null && line[SCENE] !== scene) continue;
      if (label !== null && !line[LABELS].includes(label)) continue;
      if (wanted.cut && !line[CUT]) continue;
      if (hits && !hits[number]) continue;
      found.push(number);
    }
    return sorted(found, wanted.sort);
  }

  const numbers = new Intl.Collator("en", { numeric: true });
  const labelled = (line) => line[LABELS].map((label) => head.labels[label][0]).join(", ");
  const VALUES = {
    task: (line) => line[TASK], type: (line) => head.kinds[line[TYPE]], verdict: (line) => line[VERDICT],
    scene: (line) => line[SCENE], id: (line) => line[ID], question: (line) => line[QUESTION].toLowerCase(),
    answer: (line) => line[ANSWER].toLowerCase(), expected: (line) => line[EXPECTED].join(" ").toLowerCase(),
    label: labelled, figure: (line) => line[FIGURE], words: (line) => line[WORDS],
  };

  function sorted(found, by) {
    const column = by.replace(/^-/, "");
    if (!(column in COLUMNS)) return found;
    const sign = by.startsWith("-") ? -1 : 1;
    const values = new Map(found.map((number) => [number, VALUES[column](lines[number])]));
    const compare = column === "id" ? numbers.compare : (one, other) => (one < other ? -1 : one > other ? 1 : 0);
    const empty = (value) => value === null || value === "";
    return found.sort((one, other) => {
      const first = values.get(one), second = values.get(other);
      if (empty(first) || empty(second)) return empty(first) - empty(second) || one - other; // always last
      return sign * compare(first, second) || one - other;
    });
  }

  // ---- making elements

  function element(name, attributes = {}, ...inside) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...inside.filter((one) => one !== null));
    return made;
  }

  // The text with object numbers in the colour that they have in the images.
  function marked(text) {
    const parts = [];
    let end = 0;
    for (const found of text.matchAll(/<OBJ(\d{3})>/g)) {
      const color = head.colors[Number(found[1])];
      const mark = element("span", { class: "object" }, found[0]);
      mark.style.background = `#${color.slice(0, 6)}`;
      mark.style.color = color.endsWith("w") ? "#fff" : "#000";
      parts.push(text.slice(end, found.index), mark);
      end = found.index + found[0].length;
    }
    parts.push(text.slice(end));
    return parts;
  }

  const short = (text, most) => (text.length > most ? `${text.slice(0, most)}…` : text);
  const counted = (count, name) => `${count.toLocaleString("en")} ${name}${count === 1 ? "" : "s"}`;

  function pill(line) {
    const name = VERDICT_NAMES[line[VERDICT]];
    const made = [element("span", { class: `pill ${name}` }, name === "none" ? "not judged" : name)];
    if (line[CUT]) made.push(" ", element("span", { class: "pill cut" }, "cut off"));
    return made;
  }

  const keyOf = (line) => `${head.scenes[line[SCENE]][0]}/${head.tasks[line[TASK]][0]}-${line[PLACE]}`;
  const figure = (line) => (line[FIGURE] === null ? "" : (Math.round(line[FIGURE] * 1000) / 10).toString());

  // ---- the table

  function row(number, first) {
    const line = lines[number];
    const fold = (text, most = 80) => element("span", {}, ...marked(short(text, most)));
    const address = addressOf({ ...state, answer: keyOf(line) });
    const open = element("a", { class: "open", href: address, tabindex: first ? "0" : "-1" }, fold(line[QUESTION] || "(no question)", 120));
    const expected = line[EXPECTED].join(" | ");
    const cells = {
      task: [head.tasks[line[TASK]][1]], type: [head.kinds[line[TYPE]]], verdict: pill(line),
      scene: [head.scenes[line[SCENE]][0]], id: [line[ID]], question: [open],
      answer: [line[ANSWER].trim() ? fold(line[ANSWER]) : element("span", { class: "soft" }, "(empty)")],
      expected: expected ? [fold(expected)] : [], label: [labelled(line)], figure: [figure(line)], words: [line[WORDS]],
    };
    const made = element("tr", { "data-number": number });
    for (const [name, inside] of Object.entries(cells)) {
      made.append(element("td", { class: `col-${name}`, "data-name": COLUMNS[name] }, ...inside.filter((one) => one !== "")));
    }
    made.querySelector(".col-figure").title = `${head.metrics[line[METRIC]]} × 100`;
    return made;
  }

  function showTable() {
    const key = addressOf({ ...state, page: "", answer: "" }) + received;
    if (shown.key !== key) shown = { key, found: filtered(state) };
    const pages = Math.max(1, Math.ceil(shown.found.length / LINES_SHOWN));
    const page = Math.min(Math.max(1, Number.parseInt(state.page, 10) || 1), pages);
    const from = (page - 1) * LINES_SHOWN;
    const here = shown.found.slice(from, from + LINES_SHOWN);
    const body = document.querySelector(".all tbody");
    body.replaceChildren(...here.map((number, place) => row(number, place === 0)));
    if (!here.length && received === head.parts) {
      body.append(element("tr", {}, element("td", { colspan: "11" }, "No answer fits. Clear the search and the filters to see all.")));
    }
    const what = broken ? "could not be read" : "still being read";
    const all = received === head.parts ? "" : ` (${counted(head.lines - lines.length, "answer")} ${what})`;
    at("found").textContent = `${shown.found.length.toLocaleString("en")} of ${counted(head.lines, "answer")}${state.cut ? ", those cut off" : ""}${all}`;
    at("page").textContent = `page ${page} of ${pages}`;
    document.querySelector("[data-do=before]").disabled = page === 1;
    document.querySelector("[data-do=next]").disabled = page === pages;
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
      list.replaceChildren(element("option", { value: "" }, name === "sort" ? "as asked" : "all"));
      list.append(...options().map(([value, text]) => element("option", { value }, text)));
      list.dataset.of = of;
    }
    const wanted = state[name];
    if (wanted && ![...list.options].some((option) => option.value === wanted)) {
      list.append(element("option", { value: wanted }, withCount(0, wanted)));
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
    const search = document.querySelector(".filters [name=q]");
    if (search.value !== state.q && document.activeElement !== search) search.value = state.q;
  }

  // ---- a single answer

  function load(part) {
    if (!details.has(part)) {
      details.set(part, new Promise((done, failed) => {
        const name = `data/details-${String(part).padStart(3, "0")}.js`;
        waiting.set(part, done);
        const script = element("script", { src: name });
        script.addEventListener("error", () => {
          details.delete(part);
          failed(new Error(`${name} could not be read; copy the whole folder of the report, not this page alone.`));
        });
        document.head.append(script);
      }));
    }
    return details.get(part);
  }

  function long(text) {
    if (text.length <= FOLDED) return element("div", { class: "text" }, ...marked(text));
    const whole = element("details", {}, element("summary", {}, `All ${text.length.toLocaleString("en")} characters`), element("div", { class: "text" }, ...marked(text)));
    return element("div", { class: "text" }, ...marked(short(text, 600)), whole);
  }

  const section = (title, ...inside) => [element("h3", {}, title), ...inside];
  const objects = (named) => named.map(([number, label]) => (label ? `${number} (${label})` : `${number}`)).join(", ");

  function content(line, detail) {
    const [reason, parsed, compared, further, iou, named, meant, index] = detail;
    const [scene, file, , image] = head.scenes[line[SCENE]];
    const task = head.tasks[line[TASK]];
    const facts = [...pill(line), ` ${task[1]}`, line[TYPE] && head.kinds[line[TYPE]] ? `, ${head.kinds[line[TYPE]]}` : "", `, scene ${scene}`];
    if (line[ID]) facts.push(`, question id ${line[ID]}`);
    if (index !== null) facts.push(`, row ${index} of the questions`);
    const link = (href, text) => element("a", { href }, text);
    const made = [element("p", {}, ...facts)];
    made.push(element("p", {}, link(`${file}#${task[0]}-${line[PLACE]}`, "On the page of its scene, with all images"), " · ", link(addressOf({ answer: keyOf(line) }), "Link to this answer")));
    made.push(...section("Question", long(line[QUESTION] || "(the files do not say it)")));
    made.push(...section(`Answer, ${counted(line[WORDS], "word")}`, line[ANSWER].trim() ? long(line[ANSWER]) : element("p", { class: "soft" }, "(empty)")));
    if (parsed !== null) made.push(...section("As the rules read it", long(parsed.trim() ? parsed : "(nothing)")));
    if (line[EXPECTED].length) made.push(...section("Expected", ...line[EXPECTED].map(long)));
    if (compared !== null && compared.length) made.push(...section("Expected, as it was compared", ...compared.map(long)));
    const why = [reason, ...further].filter(Boolean);
    if (line[FIGURE] !== null) why.push(`${head.metrics[line[METRIC]]} × 100: ${figure(line)}`);
    if (iou !== null) why.push(`IoU of the box named with the box meant: ${iou}`);
    if (named.length) why.push(`named: object ${objects(named)}`);
    if (meant.length) why.push(`meant: object ${objects(meant)}`);
    if (why.length) made.push(...section("Why", element("ul", {}, ...why.map((text) => element("li", {}, ...marked(text))))));
    if (image) {
      const [source, width, height, name] = image;
      const drawn = element("img", { src: source, width, height, alt: `${name} of ${scene}`, loading: "lazy" });
      const place = element("a", { href: source }, drawn);
      made.push(...section(`${name} of the scene`, place));
    }
    return made;
  }

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
      inside.replaceChildren(element("p", {}, reading ? "The answers are still being read." : "This report has no such answer. The link may be of another report."));
      return;
    }
    const part = head.partOf(number);
    const asked = state.answer;
    try {
      const found = await load(part.number);
      if (state.answer === asked) inside.replaceChildren(...content(lines[number], found[number - part.first]));
    } catch (error) {
      inside.replaceChildren(element("p", { class: "warning" }, error.message));
    }
  }

  function step(by) {
    const place = shown.found.indexOf(numberOf(state.answer)) + by;
    if (place >= 0 && place < shown.found.length) {
      go({ answer: keyOf(lines[shown.found[place]]), page: String(Math.floor(place / LINES_SHOWN) + 1) }, true);
    }
  }

  function closeAnswer() {
    const number = numberOf(state.answer);
    go({ answer: "" });
    const open = document.querySelector(`.all tr[data-number="${number}"] a.open`);
    if (open) choose(open);
  }

  // ---- keys and buttons

  function choose(open) {
    for (const other of document.querySelectorAll(".all a.open[tabindex='0']")) other.tabIndex = -1;
    open.tabIndex = 0;
    open.focus();
  }

  function move(by) {
    const all = [...document.querySelectorAll(".all a.open")];
    const place = all.indexOf(document.activeElement) + by;
    if (all[place] && place >= 0) return choose(all[place]);
    if (place < 0) return document.querySelector(".filters [name=q]").focus();
    const next = document.querySelector("[data-do=next]");
    if (!next.disabled) {
      turn(1);
      choose(document.querySelector(".all a.open"));
    }
  }

  const turn = (by) => go({ page: String((Number.parseInt(state.page, 10) || 1) + by) });

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select, textarea");
    const inTable = event.target.matches(".all a.open");
    const search = document.querySelector(".filters [name=q]");
    const acts = {
      "/": !typing && !state.answer && (() => { search.focus(); search.select(); }),
      ArrowDown: (inTable || event.target === search) && (() => (inTable ? move(1) : choose(document.querySelector(".all a.open") || search))),
      ArrowUp: inTable && (() => move(-1)),
      ArrowLeft: state.answer && !typing && (() => step(-1)),
      ArrowRight: state.answer && !typing && (() => step(1)),
      Escape: !state.answer && (inTable || event.target === search) && (() => (inTable ? search.focus() : go({ q: "", page: "" }), search.value = state.q)),
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
    window.addEventListener("hashchange", () => {
      if (!isView(location.hash) || location.hash === addressOf(state)) return;
      const next = read(location.hash);
      const foreign = addressOf({ ...next, page: "", answer: "" }) !== addressOf({ ...state, page: "", answer: "" });
      show(next);
      document.querySelector(".filters [name=q]").value = state.q;
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
    document.querySelector(".filters [name=q]").value = state.q;
    if (state.answer === "" && location.hash.includes("=")) at("answers").scrollIntoView();
    window.addEventListener("load", () => {
      setTimeout(searchText, 50); // so that the first search need not make it
      if (received < head.parts) {
        broken = true;
        fail(`${counted(head.parts - received, "file")} of answers could not be read`);
        showTable();
      }
    });
  }

  function fail(what) {
    at("trouble").textContent = `${what}. Copy the whole folder of the report, not this page alone.`;
    at("trouble").hidden = false;
  }

  document.addEventListener("DOMContentLoaded", () => { if (!head) fail("The answers could not be read"); });

  // ---- what the files of data call

  return {
    head(value) {
      head = value;
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
    },
    details([number, found]) {
      details.set(number, Promise.resolve(found));
      waiting.get(number)(found);
    },
  };
})();
