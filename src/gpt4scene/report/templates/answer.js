"use strict";
// Makes elements for answers: texts with their object numbers, verdicts, and all that is known of a single answer.
// Texts become text nodes and never HTML.

const gpt4sceneAnswers = (head, keyOf, addressOf) => {
  const FOLDED = 1500; // characters from which a text of a single answer is folded
  const details = new Map(); // part -> promise of its details
  const waiting = new Map(); // part -> function that takes its details
  const { TASK, TYPE, VERDICT, SCENE, PLACE, ID, QUESTION, ANSWER, EXPECTED, FIGURE, METRIC, WORDS, CUT } = gpt4scenePlaces;

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
  const figure = (line) => (line[FIGURE] === null ? "" : (Math.round(line[FIGURE] * 1000) / 10).toString());

  function pill(line) {
    const name = gpt4sceneVerdicts[line[VERDICT]];
    const made = [element("span", { class: `pill ${name}` }, name === "none" ? "not judged" : name)];
    if (line[CUT]) made.push(" ", element("span", { class: "pill cut" }, "cut off"));
    return made;
  }

  function long(text) {
    if (text.length <= FOLDED) return element("div", { class: "text", dir: "auto" }, ...marked(text));
    const whole = element("details", {}, element("summary", {}, `All ${text.length.toLocaleString("en")} characters`), element("div", { class: "text", dir: "auto" }, ...marked(text)));
    return element("div", { class: "text", dir: "auto" }, ...marked(short(text, 600)), whole);
  }

  const section = (title, ...inside) => [element("h3", {}, title), ...inside];
  const objects = (named) => named.map(([number, label]) => (label ? `${number} (${label})` : `${number}`)).join(", ");

  // All that is known of one answer; `detail` is what its file of details says.
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

  // Return a promise of the details of a part, whose file is read when they are first asked for.
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

  const loaded = (part, found) => waiting.get(part)(found);

  return { load, loaded, element, marked, short, counted, figure, pill, content };
};
