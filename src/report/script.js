// Sorts tables by a click on a header, and filters what can be filtered. The page says everything without it.
"use strict";
const number = (text) => { const found = /-?\d+(\.\d+)?(e-?\d+)?|-?\.\d+/i.exec(text.replaceAll("−", "-")); return found ? parseFloat(found[0]) : NaN; };
function compare(a, b) {
  const [x, y] = [number(a), number(b)];
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a.localeCompare(b);
  return x - y;
}
// Names begin with A, numbers with the largest.
function sort(table, column, header) {
  const before = header.getAttribute("aria-sort");
  const down = before === null ? column > 0 : before === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const text = (row) => row.cells[column].textContent;
  const order = column === 0 ? (a, b) => text(a).localeCompare(text(b)) : (a, b) => compare(text(a), text(b));
  const rows = [...table.tBodies[0].rows].sort(order);
  table.tBodies[0].append(...(down ? rows.reverse() : rows));
}
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(table, column, header));
  });
}
const filter = document.getElementById("filter");
filter.closest(".tools").hidden = false;
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const one of document.querySelectorAll("[data-text]")) {
    const text = (one.dataset.text || one.firstElementChild.textContent).toLowerCase();
    one.hidden = !words.every((word) => text.includes(word));
  }
});
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const one of closed) one.open = true;
});
addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
