// The page *Practise here*: editors, a worker that runs what is in them, and the judgement by the records' numbers.
// Nothing of Python and no number is fetched before a reader asks for it.

const RECORDS = new URL("../practice.json", import.meta.url);
const WORKER = new URL("practice_worker.js", import.meta.url);
const INDENT = "    ";
const TOLERANCE = 1e-5;

let fetched;
/** The exercises' calls, right results and known mistakes (tools/practice_page.py writes them). */
export function records() {
  fetched ??= fetch(RECORDS).then((reply) => {
    if (reply.ok) return reply.json();
    throw new Error(`${RECORDS.pathname.split("/").pop()}: ${reply.status}`);
  });
  fetched.catch(() => (fetched = undefined)); // to be tried again
  return fetched;
}

/** Run a source in a worker. Returns [worker, promise of {error, outcomes, defined, left}]; `heard` gets what comes before. */
export function run(request, heard = () => {}) {
  const worker = new Worker(WORKER, { type: "module" });
  const done = new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (!data.done && !data.failed) return heard(data);
      worker.terminate();
      if (data.done) resolve(data.done);
      else reject(new Error(data.failed));
    };
    worker.onerror = (event) => {
      worker.terminate();
      reject(new Error(event.message ?? "Python could not be loaded"));
    };
  });
  worker.postMessage(request);
  return [worker, done];
}

// ---- Judging -------------------------------------------------------------------------------------------------

const isFloat = (value) => typeof value === "string";
const isNumber = (value) => isFloat(value) || typeof value === "number";
const number = (value) => (isFloat(value) ? Number(value.replace("inf", "Infinity")) : value); // nan is NaN

/** "a list of 3", "3", "0.5", "None": a value in a few words. */
function described(value) {
  if (value === null) return "None";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (!isNumber(value)) return `a ${value.type}`;
  return isFloat(value) ? shown(value) : String(value);
}

/** A float with few digits. */
const shown = (value) => (Number.isFinite(number(value)) ? String(Number(number(value).toPrecision(6))) : value);

function near(wanted, given, absolute) {
  const [w, g] = [number(wanted), number(given)];
  return w === g || (Number.isNaN(w) && Number.isNaN(g)) || Math.abs(w - g) <= absolute + TOLERANCE * Math.abs(w);
}

/** What differs first between a right value and another; "" if nothing does. */
export function difference(wanted, given, absolute, place = []) {
  const at = place.length ? `at index [${place.join(", ")}] ` : "";
  if (Array.isArray(wanted)) {
    if (!Array.isArray(given)) return `${at}expected a list of ${wanted.length}, got ${described(given)}`;
    if (wanted.length !== given.length) return `${at}expected a list of ${wanted.length}, got a list of ${given.length}`;
    for (const [i, each] of wanted.entries()) {
      const found = difference(each, given[i], absolute, [...place, i]);
      if (found) return found;
    }
    return "";
  }
  if (!isNumber(wanted) || !isNumber(given)) return JSON.stringify(wanted) === JSON.stringify(given) ? "" : `${at}expected ${described(wanted)}, got ${described(given)}`;
  if (!isFloat(wanted)) return wanted === given ? "" : `${at}expected ${wanted}, got ${isFloat(given) ? `the float ${given}` : given}`;
  if (near(wanted, given, absolute)) return "";
  const pair = [wanted, given].map(shown);
  return `${at}expected ${pair[0] === pair[1] ? wanted : pair[0]}, got ${pair[0] === pair[1] ? given : pair[1]}`;
}

/** Whether an outcome is what a known mistake gives there: "=" stands for the right value. */
function alike(result, right, { value, error }, absolute) {
  if (result?.error) return error?.kind === result.error;
  return !error && !difference(result === "=" ? right : result, value, absolute);
}

/** The judgement on the outcomes of all calls: {status, problem, hint}, in the words of the notebooks' checks. */
export function judge(exercise, outcomes) {
  const { calls, right, absolute, task, mistakes } = exercise;
  if (outcomes[0].value === null) return { status: "not attempted", problem: "it returns nothing: write the body, or add the missing return", hint: "" };
  const problems = outcomes.map(({ value, error }, i) => (error ? lastLine(error.trace) : difference(right[i], value, absolute)));
  const first = problems.findIndex(Boolean);
  if (first < 0) return { status: "passed", problem: "", hint: "" };
  const error = outcomes[first].error;
  const where = error ? ` in ${lines(error.trace).at(-1) ?? "the call"}` : "";
  const hints = new Set(mistakes.filter(({ results }) => results.every((result, i) => alike(result, right[i], outcomes[i], absolute))).map(({ hint }) => hint));
  const hint = hints.size === 1 ? [...hints][0] : (error && advice(error)) || `the task is to ${task}`;
  return { status: error ? "error" : "wrong", problem: `${problems[first]}${where} for ${call(exercise, calls[first])}`, hint };
}

function advice({ kind, trace }) {
  if (kind === "ImportError") return "this Python has no torch and no numpy: lists, loops and math are enough here.";
  if (/maximum recursion/.test(trace)) return "the function calls itself without end: is its name also the name of something else here?";
  return "";
}

/** The call as the reader would write it. */
function call({ name, signature }, args) {
  const written = (value) => (Array.isArray(value) ? `[${value.map(written).join(", ")}]` : String(value));
  const names = signature.slice(signature.indexOf("(") + 1, -1).split(", ");
  const text = `${name}(${args.map((value, i) => `${names[i]}=${written(value)}`).join(", ")})`;
  return text.length > 300 ? `${text.slice(0, 300)} …` : text;
}

const lastLine = (trace) => trace.trim().split("\n").at(-1);
/** "line 3, in f" for each of the reader's own lines in a traceback, the innermost last. */
const lines = (trace) => [...trace.matchAll(/File "your code", (line \d+(?:, in (?!<module>)\S+)?)/g)].map(([, line]) => line);

/** A traceback with the reader's lines only, and of many alike the first and the last. */
function told(trace) {
  const own = lines(trace);
  const few = own.length > 8 ? [...own.slice(0, 3), `… ${own.length - 6} more …`, ...own.slice(-3)] : own;
  return [...few, lastLine(trace)].join("\n");
}

// ---- The page ------------------------------------------------------------------------------------------------

const store = {
  get: (name) => { try { return localStorage.getItem(`course-practice:${name}`); } catch { return null; } },
  set: (name, text) => { try { localStorage.setItem(`course-practice:${name}`, text); } catch { /* not remembered */ } },
  remove: (name) => { try { localStorage.removeItem(`course-practice:${name}`); } catch { /* was not remembered */ } },
};

/** Tab goes on to the next control, as everywhere. Enter keeps the indentation, Backspace takes it back. */
function editing(area, check) {
  const insert = (text) => document.execCommand(text ? "insertText" : "delete", false, text); // so that undo knows of it

  /** Move the lines of the selection by one step of indentation. */
  function move(right) {
    const { selectionStart: start, selectionEnd: end, value } = area;
    const from = value.lastIndexOf("\n", start - 1) + 1;
    const last = end > start && value[end - 1] === "\n" ? end - 1 : end;
    const to = value.indexOf("\n", last) < 0 ? value.length : value.indexOf("\n", last);
    const moved = value.slice(from, to).split("\n").map((line) => (right ? INDENT + line : line.replace(/^ {1,4}/, ""))).join("\n");
    area.setSelectionRange(from, to);
    insert(moved);
    const caret = Math.max(from, start + moved.length - (to - from));
    area.setSelectionRange(start === end ? caret : from, start === end ? caret : from + moved.length);
  }

  area.addEventListener("keydown", (event) => {
    const control = event.ctrlKey && !event.altKey && !event.metaKey; // with Alt it is AltGr, which types a bracket
    const plain = !event.ctrlKey && !event.altKey && !event.metaKey && !event.shiftKey && !event.isComposing;
    const before = area.value.slice(area.value.lastIndexOf("\n", area.selectionStart - 1) + 1, area.selectionStart);
    if (control && event.key === "Enter") check();
    else if (control && (event.key === "]" || event.key === "[")) move(event.key === "]");
    else if (plain && event.key === "Enter") insert(`\n${before.match(/^ */)[0]}${before.trimEnd().endsWith(":") ? INDENT : ""}`);
    else if (plain && event.key === "Backspace" && area.selectionStart === area.selectionEnd && /^ +$/.test(before)) {
      area.setSelectionRange(area.selectionStart - (before.length % 4 || 4), area.selectionStart);
      insert("");
    } else return;
    event.preventDefault();
  });
}

const running = new Map(); // of each exercise, the worker

function start(host) {
  const { name } = host.dataset;
  const area = host.querySelector("textarea");
  const status = host.querySelector("[role=status]");
  const output = host.querySelector("pre");
  const stub = area.value;
  area.value = store.get(name) ?? stub;
  area.readOnly = false;

  function say(text, kind = "") {
    status.textContent = text;
    host.dataset.status = kind;
  }
  function show(text) {
    output.textContent += text;
    output.hidden = !output.textContent;
  }

  async function go(judged) {
    running.get(name)?.terminate();
    output.textContent = "";
    show("");
    say("Fetching Python …", "running");
    const mine = Symbol(name);
    host.turn = mine; // of two that overlap the last one counts
    try {
      const exercise = judged ? { name, ...(await records()).exercises[name] } : null;
      if (host.turn !== mine) return;
      const request = { source: area.value, name: judged ? name : "", calls: exercise?.calls ?? [] };
      const [worker, done] = run(request, (heard) => {
        if (heard.loaded) say("Running. Stop ends it.", "running");
        else show(heard.print);
      });
      running.set(name, worker);
      const { error, outcomes, defined, left } = await done;
      if (host.turn !== mine) return;
      running.delete(name);
      if (left) show(`\n… ${left} more characters\n`);
      if (error) return failed(error);
      if (!judged) return say(output.hidden ? "It ran, and printed nothing." : "It ran.");
      if (!defined) return say(`✗ ${name}: error – there is no function of that name. Keep its name.`, "wrong");
      verdict(judge(exercise, outcomes), outcomes);
    } catch (error) {
      running.delete(name);
      say(`It could not be run: ${error.message}. Are you connected? Then press again.`, "wrong");
    }
  }

  function failed(error) {
    show(`${told(error.trace)}\n`);
    const hint = advice(error);
    say(`✗ ${name}: error – ${lastLine(error.trace)} in ${lines(error.trace).at(-1) ?? "your code"}.${hint && ` Hint: ${hint}`}`, "wrong");
  }

  function verdict({ status: word, problem, hint }, outcomes) {
    const mark = { passed: "✓", "not attempted": "○" }[word] ?? "✗";
    say(`${mark} ${name}: ${word}${problem && ` – ${problem}.`}${hint && ` Hint: ${hint}`}`, word === "passed" ? "passed" : word === "not attempted" ? "" : "wrong");
    const error = outcomes.find((outcome) => outcome.error)?.error;
    if (error) show(`${told(error.trace)}\n`);
    if (word === "passed") document.dispatchEvent(new CustomEvent("course-passed", { detail: host.dataset.passes }));
  }

  const actions = {
    check: () => go(true),
    run: () => go(false),
    stop() {
      const busy = host.dataset.status === "running";
      running.get(name)?.terminate();
      running.delete(name);
      host.turn = null;
      say(busy ? "Stopped." : "Nothing is running.");
    },
    again() {
      actions.stop();
      area.value = stub;
      store.remove(name);
      say("As it was at first.");
    },
  };
  for (const button of host.querySelectorAll("button")) {
    button.disabled = false;
    button.addEventListener("click", actions[button.dataset.do]);
  }
  area.addEventListener("input", () => store.set(name, area.value));
  editing(area, actions.check);
}

document.querySelectorAll(".course-practice").forEach(start);
