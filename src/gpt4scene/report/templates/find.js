"use strict";
// Finds and orders answers: which lines pass the filters and hold the words that are looked for. It draws nothing.

// Places in a line of data; see answer_data.py.
const gpt4scenePlaces = {
  TASK: 0, TYPE: 1, VERDICT: 2, SCENE: 3, PLACE: 4, ID: 5, QUESTION: 6, ANSWER: 7, EXPECTED: 8, LABELS: 9, FIGURE: 10,
  METRIC: 11, WORDS: 12, CUT: 13,
};
const gpt4sceneVerdicts = ["right", "partly", "wrong", "none"];

// Return `find(wanted)`, the numbers of the lines that fit, in the order wanted, and `read()`, to be called when `lines`
// has grown. Nothing is looked at twice: letters that are added narrow the lines found before, and an order is kept.
const gpt4sceneFinder = (head, lines) => {
  const { TASK, TYPE, VERDICT, SCENE, ID, QUESTION, ANSWER, EXPECTED, LABELS, FIGURE, WORDS, CUT } = gpt4scenePlaces;
  const texts = []; // of each line the words that are its own, in lower case
  let searched = { words: [], count: 0, marks: null };
  let ordered = { by: "", count: 0, numbers: [] };
  const label = (line) => line[LABELS].map((number) => head.labels[number][0]).join(", ");

  function read() {
    for (let number = texts.length; number < lines.length; number += 1) {
      const line = lines[number];
      texts.push([line[QUESTION], line[ANSWER], ...line[EXPECTED], line[ID]].join("\n").toLowerCase());
    }
  }

  // ---- words

  // Whether a line holds `word`, in its own words or in a name that many lines share.
  function holder(word) {
    const holds = (name) => name.toLowerCase().includes(word);
    const tasks = head.tasks.map((task) => holds(task[1])), types = head.kinds.map(holds);
    const scenes = head.scenes.map((scene) => holds(scene[0])), labels = head.labels.map((one) => holds(one[0]));
    if (![tasks, types, scenes, labels].some((names) => names.includes(true))) return (number) => texts[number].includes(word);
    return (number) => {
      const line = lines[number];
      return texts[number].includes(word) || tasks[line[TASK]] || types[line[TYPE]] || scenes[line[SCENE]]
        || line[LABELS].some((one) => labels[one]);
    };
  }

  // Marks for every line whether it has all words; null where none are looked for.
  function having(words) {
    const before = searched;
    const known = before.count === lines.length;
    if (!words.length) return null;
    read();
    if (known && words.join(" ") === before.words.join(" ")) return before.marks;
    const narrows = known && before.words.length && before.words.every((old) => words.some((word) => word.includes(old)));
    const marks = narrows ? before.marks.slice() : new Uint8Array(lines.length).fill(1);
    for (const word of words.toSorted((one, other) => other.length - one.length)) { // a long word leaves the fewest lines
      if (narrows && before.words.includes(word)) continue;
      const holds = holder(word);
      for (let number = 0; number < marks.length; number += 1) if (marks[number] && !holds(number)) marks[number] = 0;
    }
    searched = { words, count: lines.length, marks };
    return marks;
  }

  // ---- order

  const digits = (text) => text.toLowerCase().replace(/\d+/g, (found) => found.padStart(15, "0"));
  const VALUES = new Map(Object.entries({
    task: (line) => line[TASK], type: (line) => head.kinds[line[TYPE]], verdict: (line) => line[VERDICT],
    scene: (line) => line[SCENE], id: (line) => digits(line[ID]), question: (line) => line[QUESTION].toLowerCase(),
    answer: (line) => line[ANSWER].toLowerCase(), expected: (line) => line[EXPECTED].join(" ").toLowerCase(),
    label, figure: (line) => line[FIGURE], words: (line) => line[WORDS],
  }));

  // The numbers of all lines in the order `by`, a column with - before it for downwards; what is empty comes last.
  function order(by) {
    if (ordered.by === by && ordered.count === lines.length) return ordered.numbers;
    const numbers = lines.map((_, number) => number);
    const value = VALUES.get(by.replace(/^-/, ""));
    if (value) {
      const sign = by.startsWith("-") ? -1 : 1;
      const values = lines.map(value);
      const empty = values.map((one) => one === null || one === "");
      numbers.sort((one, other) => {
        if (empty[one] || empty[other]) return empty[one] - empty[other] || one - other;
        const first = values[one], second = values[other];
        return first < second ? -sign : first > second ? sign : one - other;
      });
    }
    ordered = { by, count: lines.length, numbers };
    return numbers;
  }

  function placeOf(values, wanted, name = (value) => value) {
    return wanted ? values.findIndex((value) => name(value) === wanted) : null;
  }

  function find(wanted) {
    const first = (value) => value[0];
    const task = placeOf(head.tasks, wanted.task, first), type = placeOf(head.kinds, wanted.type);
    const verdict = placeOf(gpt4sceneVerdicts, wanted.verdict), scene = placeOf(head.scenes, wanted.scene, first);
    const label = placeOf(head.labels, wanted.label, first);
    const marks = having(wanted.q.toLowerCase().split(/\s+/).filter(Boolean));
    return order(wanted.sort).filter((number) => {
      if (marks && !marks[number]) return false;
      const line = lines[number];
      return (task === null || line[TASK] === task) && (type === null || line[TYPE] === type)
        && (verdict === null || line[VERDICT] === verdict) && (scene === null || line[SCENE] === scene)
        && (label === null || line[LABELS].includes(label)) && (!wanted.cut || line[CUT]);
    });
  }

  return { find, read, label };
};
