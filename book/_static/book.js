// A link into a fold opens it.
function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  const inside = target.classList.contains("cell") ? target.querySelector("details") : null;
  for (let fold = inside || target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
}
addEventListener("hashchange", openTarget);
addEventListener("DOMContentLoaded", openTarget);

// What is folded is printed open, as the page of an exhibit is read whole on paper; the library's code stays folded.
const folded = () => document.querySelectorAll("details.rows:not([open])");
let opened = [];
addEventListener("beforeprint", () => { opened = [...folded()]; opened.forEach(d => { d.open = true; }); });
addEventListener("afterprint", () => opened.forEach(d => { d.open = false; }));

// What scrolls sideways can be scrolled by the keyboard, and says what it is.
addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".bd-article pre, .pst-scrollable-table-container, div.cell_output"))
    if (box.scrollWidth > box.clientWidth + 1 && !box.hasAttribute("tabindex")) box.tabIndex = 0;
});
