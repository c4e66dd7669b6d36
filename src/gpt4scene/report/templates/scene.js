"use strict";
// A link to an answer opens what belongs to it: its task, and its boxes in the images.
function openLinked() {
  const linked = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const row = linked && linked.closest("tr");
  if (!row) return;
  linked.closest("details").open = true;
  const boxes = row.nextElementSibling;
  if (boxes && boxes.classList.contains("look")) boxes.querySelector("details").open = true;
  linked.scrollIntoView({ block: "center" });
}
addEventListener("hashchange", openLinked);
openLinked();
