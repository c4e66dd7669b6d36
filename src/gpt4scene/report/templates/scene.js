"use strict";
// Draws the boxes of an answer over the images that show them, when they are opened, and opens those of a linked answer.
const SVG = "http://www.w3.org/2000/svg";

function part(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function draw(item) {
  const [image, ...boxes] = item.dataset.see.split(" ");
  const below = document.getElementById("i" + image);
  const names = boxes.map((id) => document.getElementById(id).dataset.name);
  const size = `0 0 ${below.getAttribute("width")} ${below.getAttribute("height")}`;
  const label = `${item.firstElementChild.textContent} with ${names.join(", ")}`;
  const drawn = part("svg", { class: "view", viewBox: size, role: "img", "aria-label": label });
  for (const id of ["i" + image, ...boxes]) drawn.append(part("use", { href: "#" + id }));
  item.prepend(drawn);
}

function drawAll(details) {
  if (!details.closest(".look")) return;
  for (const item of details.querySelectorAll("li[data-see]")) {
    draw(item);
    item.removeAttribute("data-see");
  }
}

function openLinked() {
  const linked = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const row = linked && linked.closest("tr");
  if (!row) return;
  linked.closest("details").open = true;
  const boxes = row.nextElementSibling;
  if (boxes && boxes.classList.contains("look")) {
    drawAll(boxes);
    boxes.querySelector("details").open = true;
  }
  linked.scrollIntoView({ block: "center" });
}

document.addEventListener("toggle", (event) => drawAll(event.target), true);
addEventListener("hashchange", openLinked);
openLinked();
