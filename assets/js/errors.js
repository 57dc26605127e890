// The box of the page "Errors": it finds the entries for a pasted message while one types.

const SHOWN = 3;
const RARE = Math.log(1 + 100); // the weight of a word that no entry has
const LAST_ERROR = /^[\w.]*(Error|Exception|Interrupt|Exit)\b/;

// From the last line that begins with an error's name on: what comes before it in a traceback is code.
function message(text) {
  const lines = text.split("\n");
  const start = lines.findLastIndex((line) => LAST_ERROR.test(line));
  return start < 0 ? text : lines.slice(start).join("\n");
}

function words(text) {
  return new Set(text.toLowerCase().match(/[a-z_]{3,}/g));
}

function entries() {
  const found = JSON.parse(document.getElementById("course-errors").textContent).map(({ anchor, pattern }) => {
    const section = document.getElementById(anchor).closest("section");
    const says = section.querySelector("h3 code").textContent;
    return { anchor, section, says, pattern: new RegExp(pattern, "im"), words: words(`${says} ${anchor}`) };
  });
  const rarity = new Map(); // a word counts the more, the fewer entries have it
  for (const { words } of found) for (const word of words) rarity.set(word, (rarity.get(word) ?? 0) + 1);
  for (const [word, count] of rarity) rarity.set(word, Math.log(1 + found.length / count));
  return [found, rarity];
}

// How well an entry fits: its pattern in the message itself, elsewhere in the text, or some of its words.
function score(entry, text, rarity) {
  const named = text.match(/errors: ([\w-]+)/i)?.[1] ?? text.trim(); // by a hint, or alone
  if (named === entry.anchor) return 3000;
  const inside = message(text).match(entry.pattern);
  if (inside) return 2000 + inside[0].length;
  const anywhere = text.match(entry.pattern);
  if (anywhere) return 1000 + anywhere[0].length;
  let common = 0;
  let all = 0;
  for (const word of words(message(text))) {
    const weight = rarity.get(word) ?? RARE;
    all += weight;
    if (entry.words.has(word)) common += weight;
  }
  return all ? (100 * common) / all : 0;
}

function best(found, rarity, text) {
  const scored = found.map((entry) => [score(entry, text, rarity), entry]).filter(([points]) => points > 45);
  const top = Math.max(...scored.map(([points]) => points));
  return scored.filter(([points]) => points >= 1000 || top < 1000).sort(([a], [b]) => b - a).slice(0, SHOWN).map(([, entry]) => entry);
}

function shown({ anchor, section, says }) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = `#${anchor}`;
  link.append(Object.assign(document.createElement("code"), { textContent: says }));
  item.append(link, ...[...section.querySelectorAll(":scope > p")].slice(0, 2).map((p) => p.cloneNode(true)));
  return item;
}

const [found, rarity] = entries();
const finder = document.getElementById("course-error-finder");
finder.innerHTML = `
  <label for="course-error-text">Your message, or the whole traceback</label>
  <textarea id="course-error-text" rows="6" spellcheck="false" autocapitalize="off" autocomplete="off"></textarea>
  <p role="status"></p>
  <ol></ol>`;
const status = finder.querySelector("[role=status]");
const list = finder.querySelector("ol");
finder.querySelector("textarea").addEventListener("input", ({ target }) => {
  const fitting = target.value.trim() ? best(found, rarity, target.value) : [];
  list.replaceChildren(...fitting.map(shown));
  const [first] = fitting;
  const said = first ? `Fits best: ${first.says}` : target.value.trim() ? "No entry fits yet. The last line of a traceback says most." : "";
  if (status.textContent !== said) status.textContent = said; // it is read aloud each time that it is set
});
