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

// The table of contents shows where one is.
addEventListener("DOMContentLoaded", () => {
  const here = [...document.querySelectorAll(".bd-links .current > a.current")].pop(), side = document.querySelector(".bd-sidebar-primary");
  if (here && side) side.scrollTop += Math.max(0, here.getBoundingClientRect().bottom - side.getBoundingClientRect().bottom + side.clientHeight / 2);
});

// The search shows a few words of each page that it found. A page that was opened as a file may not read others.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
