// What the reader has passed, kept in this browser and nowhere else: shown at the end of each chapter, on the page of all
// exercises and at home. It comes from the page *Practise here*, from a file of the notebooks', or from a tick by hand.

import CHAPTERS from "./exercises.js";

const KEY = "course-progress";
const WRITTEN = "course-practice:"; // where the page *Practise here* keeps what is written there
const ALL = Object.values(CHAPTERS).flat();
const HOW = { page: "passed in the page", file: "from your file", hand: "ticked by you" };

// ---- What is kept: {exercise: how} ---------------------------------------------------------------------------

function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return found && typeof found === "object" ? found : {};
  } catch {
    return {}; // no storage, or something else under that name
  }
}

function keep(found) {
  try {
    localStorage.setItem(KEY, JSON.stringify(found));
  } catch { /* not remembered */ }
  show();
}

function mark(names, how) {
  keep({ ...Object.fromEntries(names.map((name) => [name, how])), ...kept() }); // what is known already stays so
}

function unmark(name) {
  const { [name]: _, ...left } = kept();
  keep(left);
}

function forget() {
  try {
    for (const key of Object.keys(localStorage)) if (key === KEY || key.startsWith(WRITTEN)) localStorage.removeItem(key);
  } catch { /* nothing was kept */ }
  show();
}

/** The exercises that a file names: my_pieces.py, or a certificate. */
export function named(text) {
  const pieces = [...text.matchAll(/^# %% piece: (\w+)\s*$/gm)].map(([, name]) => name);
  if (pieces.length) return pieces;
  try {
    const { what, exercises } = JSON.parse(text);
    return String(what).startsWith("certificate of the course") ? Object.keys(exercises) : [];
  } catch {
    return [];
  }
}

// ---- What is shown -------------------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const updates = []; // what is done whenever something has changed
function show() {
  const found = kept();
  for (const update of updates) update(found);
}

const count = (names, found) => names.filter((name) => name in found).length;

/** A bar with its words, over the whole course. */
function bar() {
  const words = make("span");
  const line = make("progress", { max: ALL.length, "aria-label": "Exercises of the course that have passed" });
  updates.push((found) => {
    line.value = count(ALL, found);
    words.textContent = `${line.value} of ${ALL.length} exercises`;
  });
  return make("span", { class: "course-progress__bar" }, line, " ", words);
}

let boxes = 0;
/** A box to be ticked by hand, with how it came about. */
function box(name, label) {
  const input = make("input", { type: "checkbox", id: `passed-${++boxes}` });
  const how = make("span", { class: "course-progress__how" });
  input.addEventListener("change", () => (input.checked ? mark([name], "hand") : unmark(name)));
  updates.push((found) => {
    input.checked = name in found;
    how.textContent = HOW[found[name]] ?? "";
    input.title = how.textContent;
  });
  if (!label) input.setAttribute("aria-label", `${name.replace("practice:", "")}: passed`);
  return label ? [input, " ", make("label", { for: input.id }, make("code", {}, name)), " ", how] : [input];
}

/** At the end of a chapter. */
function ofChapter(names, article) {
  const here = make("span");
  updates.push((found) => (here.textContent = `${count(names, found)} of ${names.length} in this chapter, `));
  const list = make("ul", {}, ...names.map((name) => make("li", {}, ...box(name, true))));
  const all = make("a", { href: "exercises.html" }, "All exercises");
  article.append(
    make("section", { class: "course-progress", "aria-label": "Your progress" },
      make("p", { class: "course-progress__line" }, make("strong", {}, "Passed: "), here, bar()),
      list,
      make("p", { class: "course-progress__note" }, "Tick what has passed in your notebook; it stays in this browser. The page ", all, " takes it over from the notebooks' file.")),
  );
}

/** At home: quiet, and only once there is something. */
function atHome(actions) {
  const line = make("p", { class: "course-progress course-progress__line" }, make("a", { href: "exercises.html" }, "Your progress"), " ", bar());
  actions.after(line);
  updates.push((found) => (line.hidden = !count(ALL, found)));
}

/** Over the page of all exercises: the bar, a file, and forgetting. */
function ofAll(host) {
  const file = make("input", { type: "file", id: "course-file", accept: ".py,.json" });
  const said = make("p", { role: "status", class: "course-progress__note" });
  const button = make("button", { type: "button" }, "Forget everything");
  file.addEventListener("change", async () => {
    if (!file.files.length) return;
    const names = named(await file.files[0].text()).filter((name) => ALL.includes(name));
    mark(names, "file");
    said.textContent = names.length ? `${names.length} exercises are in that file, and ticked now.` : "No exercise of this course is in that file: it must be my_pieces.py or a certificate.";
    file.value = "";
  });
  button.addEventListener("click", () => {
    if (!confirm("Forget all ticks, and all that you have written on the page “Practise here”? Your notebooks and files stay as they are.")) return;
    forget();
    said.textContent = "Forgotten.";
  });
  host.className = "course-progress";
  host.append(
    make("p", { class: "course-progress__line" }, bar()),
    make("p", {}, make("label", { for: file.id }, "Take over what passed in notebooks, from my_pieces.py or a certificate: "), file),
    make("p", {}, button),
    make("p", { class: "course-progress__note" }, "The file is read here and sent nowhere. Ticks stay in this browser."),
    said,
  );
  for (const place of document.querySelectorAll("[data-exercise]")) place.append(...box(place.dataset.exercise));
}

const page = location.pathname.split("/").pop().replace(/\.html$/, "");
const article = document.querySelector("article.bd-article");
const all = document.getElementById("course-progress-all");
const actions = document.querySelector(".course-actions");
if (all) ofAll(all);
else if (actions) atHome(actions);
else if (CHAPTERS[page] && article) ofChapter(CHAPTERS[page], article);
document.addEventListener("course-passed", ({ detail }) => mark([detail], "page"));
addEventListener("storage", show); // another tab
show();
