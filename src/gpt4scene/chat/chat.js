() => {
  "use strict";
  // Lights up the numbers of the last answer on all images, and puts numbers that are clicked into the question.
  const sheet = document.createElement("style");
  document.head.appendChild(sheet);
  let shown = null;

  const light = (numbers) => {
    sheet.textContent = numbers
      .map((number) => {
        const one = `[data-object="${number}"]`;
        return (
          `.g4s-picture .g4s-mark${one} { outline: 3px solid #fff; box-shadow: 0 0 0 6px #000, 0 0 14px 8px #fff; ` +
          `z-index: 2; } ` +
          `.g4s-objects .g4s-chip${one} { box-shadow: 0 0 0 3px var(--g4s-lit); } ` +
          `.g4s-frame:has(.g4s-mark${one}) .g4s-picture { box-shadow: 0 0 0 4px var(--g4s-lit); }`
        );
      })
      .join("\n");
  };

  const look = () => {
    const talk = document.querySelector("#g4s-talk .g4s-talk");
    // Gradio may change the element or put another in its place; what it says tells what is new.
    const now = talk && `${talk.dataset.lit} ${talk.textContent.length} ${talk.childElementCount}`;
    if (!talk || now === shown) return;
    shown = now;
    light((talk.dataset.lit || "").split(" ").filter((word) => /^\d+$/.test(word)));
    talk.scrollTop = talk.scrollHeight;
  };

  const insert = (mark) => {
    const box = document.querySelector("#g4s-question textarea, #g4s-question input");
    if (!box) return;
    const [start, end] = [box.selectionStart ?? box.value.length, box.selectionEnd ?? box.value.length];
    const before = box.value.slice(0, start);
    const text = (before && !/\s$/.test(before) ? " " : "") + mark + " ";
    box.value = before + text + box.value.slice(end).replace(/^ /, "");
    box.dispatchEvent(new Event("input", { bubbles: true }));
    box.focus();
    box.setSelectionRange(start + text.length, start + text.length);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-object]");
    if (!button) return;
    light([button.dataset.object].filter((word) => /^\d+$/.test(word)));
    if (!button.closest("#g4s-talk")) insert(button.dataset.mark);
  });
  const kinds = { childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ["data-lit"] };
  new MutationObserver(look).observe(document.body, kinds);
  document.documentElement.lang = "en";
  look();
}
