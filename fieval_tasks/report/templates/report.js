/* The list of all rows in report.html (list.html.j2 has its elements).

   The rows stand in the page, compressed, in `#rows`; what else is known of them in `#page`. What is shown follows from
   the URL's fragment alone, `#verdict=passed&q=paris`: controls write it, and links, the back button and they are read
   in the same way. Text of a row reaches the page as `textContent` only. */
"use strict";
(() => {

const KEYS = ["check", "verdict", "segment", "group", "change", "q", "sort", "item", "of", "repeat"];
/* `of` and `repeat` say which answer is open, where the list has several of one item. */
const VERDICTS = ["not passed", "unmeasured", "pending", "scored", "passed", "not needed"];  // worst first
const TONES = { "not passed": "bad", passed: "good", unmeasured: "wait", pending: "wait", regression: "bad", fix: "good" };
const OPTIONS_AT_MOST = 200;  // of a filter: more are read by nobody, and a segment may have a value a row
const BEYOND = 8;  // rows that are in the page above and below the visible ones, so that scrolling shows no gap

const FACETS = {
  check: row => [row.check],
  verdict: row => [row.verdict],
  segment: row => Object.entries(row.segments).map(([column, value]) => `${column}:${value}`),
  group: row => row.group === null ? [] : [String(row.group)],
  change: row => row.change === null ? [] : [row.change],
};
const SORTS = {
  row: row => row.row,
  score: row => row.score ?? Infinity,
  time: row => -(row.seconds ?? -1),
  check: row => page.checks.indexOf(row.check),
  verdict: row => VERDICTS.indexOf(row.verdict),
};

const found = id => document.getElementById(id);
const form = document.querySelector("#list form");
const list = found("hits-list");
const dialog = found("item");

let page = {};      // what `#page` says
let groups = new Map();  // a group's number -> its reason
let rows = [];      // every row of this page, in the order of the dataset
let ofRun = 0;      // rows of the run: this page may hold a sample of them
let orders = {};    // a sort's name -> rows in that order
let hits = [];      // rows that the filters let through, in the chosen order
let active = 0;     // the hit that the keyboard is on
let state = {};
let opener = null;  // what had the focus when an item was opened

/* -- the rows, opened ---------------------------------------------------------------------------------------------- */

/* What browsers say of a damaged block sounds like a network that is away. */
async function unpacked(block) {
  try {
    const bytes = Uint8Array.from(atob(block), letter => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return await new Response(stream).json();
  } catch {
    throw new Error("the file is damaged: take it anew from where it was made");
  }
}

async function open() {
  page = JSON.parse(found("page").textContent);
  groups = new Map(Object.entries(page.groups));
  const { columns, shown, of, blocks } = JSON.parse(found("rows").textContent);
  for (const block of blocks)
    for (const cells of await unpacked(block)) {
      const row = {};
      columns.forEach((column, n) => { row[column] = cells[n]; });
      row.facets = Object.fromEntries(Object.entries(FACETS).map(([name, values]) => [name, values(row)]));
      rows.push(row);
    }
  if (rows.length !== shown) throw new Error(`${rows.length} of ${shown} rows are in it`);
  ofRun = of;
}

/* The texts of a row that are searched, in lower case: made once, when the browser is idle or a search is first run. */
const searched = row => row.searched ??=
  [row.item, row.reason, row.value, ...Object.values(row.inputs)].join("\n").toLowerCase();

function prepareSearch(from = 0) {
  const idle = window.requestIdleCallback ?? (work => setTimeout(work, 50));
  if (from < rows.length) idle(() => { rows.slice(from, from + 500).forEach(searched); prepareSearch(from + 500); });
}

/* -- the fragment -------------------------------------------------------------------------------------------------- */

function read() {
  const written = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));
  return Object.fromEntries(KEYS.filter(key => written.get(key)).map(key => [key, written.get(key)]));
}

const written = of => "#" + new URLSearchParams(KEYS.filter(key => of[key]).map(key => [key, of[key]]))
  .toString().replaceAll("+", "%20");

/* Typing and paging would fill the history: they take the place of the entry before. */
function go(next, { replace = false } = {}) {
  if (written(next) === written(state)) return;
  history[replace ? "replaceState" : "pushState"](null, "", written(next));
  show();
}

const closed = ({ item, of, repeat, ...others }) => others;
const openOn = row =>
  ({ ...closed(state), item: row.item, of: row.check, repeat: row.repeat ? String(row.repeat) : "" });
const isOpen = row => row.item === state.item
  && (!state.of || row.check === state.of && String(row.repeat || "") === (state.repeat ?? ""));

/* -- from the state to what is shown ------------------------------------------------------------------------------- */

function show() {
  const before = state;
  state = read();
  const isSame = written(closed(before)) === written(closed(state));
  if (!isSame || !hits.length) { filter(); fillForm(); }
  const opened = state.item ? hits.findIndex(isOpen) : -1;
  if (!isSame) { active = 0; list.scrollTop = 0; }
  draw({ afresh: !isSame });
  if (opened >= 0) { active = opened; reveal(active); draw(); }
  showItem(hits[opened] ?? (state.item && rows.find(isOpen)), opened);
}

/* One pass: a row that every filter lets through is a hit, and counts for each of its values; one that a single filter
   keeps out counts for that filter's values, as choosing another of them would show it. */
function filter() {
  const names = Object.keys(FACETS);
  const q = (state.q ?? "").toLowerCase();
  const counts = Object.fromEntries(names.map(name => [name, new Map()]));
  const count = (name, row) => row.facets[name].forEach(
    value => counts[name].set(value, (counts[name].get(value) ?? 0) + 1));
  const sort = Object.keys(SORTS).includes(state.sort) ? state.sort : "row";  // constructor is no key of its own
  orders[sort] ??= [...rows].sort((a, b) => SORTS[sort](a) - SORTS[sort](b));
  hits = [];
  for (const row of orders[sort]) {
    if (q && !searched(row).includes(q)) continue;
    const against = names.filter(name => state[name] && !row.facets[name].includes(state[name]));
    if (!against.length) { hits.push(row); names.forEach(name => count(name, row)); }
    else if (against.length === 1) count(against[0], row);
  }
  fillFilters(counts);
}

const named = {
  segment: value => value.replace(":", ": "),
  group: value => groups.get(value) ?? `group ${value}`,
};

/* Every value is an option from the start, so that none jumps about; only its number changes. */
function fillFilters(counts) {
  for (const name of Object.keys(FACETS)) {
    const select = form.elements[name];
    if (!select.options.length) fillOptions(select);
    const options = [...select.options].slice(1);  // the first is for all
    if (state[name] && !options.some(option => option.value === state[name]))
      options.push(addOption(select, state[name]));
    for (const option of options) {
      const text = clipped(named[name]?.(option.value) ?? option.value, 60);
      option.textContent = `${apart(text)} (${number(counts[name].get(option.value) ?? 0)})`;
    }
  }
}

function fillOptions(select) {
  const all = new Map();
  for (const row of rows) for (const value of row.facets[select.name]) all.set(value, (all.get(value) ?? 0) + 1);
  const byName = (a, b) => a[0].localeCompare(b[0], undefined, { numeric: true });  // check2 before check10
  const values = [...all].sort((a, b) => b[1] - a[1] || byName(a, b)).slice(0, OPTIONS_AT_MOST).map(([value]) => value);
  select.append(new Option("all", ""));
  values.forEach(value => addOption(select, value));
  select.closest("label").hidden = !values.length;
}

function addOption(select, value) {
  const option = new Option("", value);
  select.append(option);
  return option;
}

function fillForm() {
  for (const field of form.elements)
    if (field.value !== (state[field.name] ?? "")) field.value = state[field.name] ?? "";
  const chosen = KEYS.slice(0, 6).filter(key => state[key]);
  const sample = ofRun > rows.length ? ` (a sample of the run's ${number(ofRun)})` : "";
  const sum = `${number(hits.length)} of ${number(rows.length)} rows${sample}`;
  found("hits").textContent = hits.length ? sum : "No row matches: clear the filters.";
  found("clear").hidden = !chosen.length;
  const filters = chosen.map(key => `${key === "q" ? "search" : key} ${apart(named[key]?.(state[key]) ?? state[key])}`);
  found("filter-printed").textContent = chosen.length
    ? `The list of rows, which is not printed, showed ${sum}: ${filters.join(", ")}.` : "";
}

/* -- the list: only rows near the visible ones are in the page ----------------------------------------------------- */

const drawn = new Map();  // place among the hits -> its <li>
let height = 0;           // of a row, in pixels

function draw({ afresh = false } = {}) {
  if (afresh) { drawn.clear(); list.replaceChildren(); }
  list.hidden = !hits.length;
  if (!hits.length) return;
  if (!drawn.size) place(0);
  height = drawn.values().next().value.getBoundingClientRect().height || 1;
  list.style.setProperty("--rows", hits.length);
  const first = Math.max(0, Math.floor(list.scrollTop / height) - BEYOND);
  const last = Math.min(hits.length - 1, Math.ceil((list.scrollTop + list.clientHeight) / height) + BEYOND);
  for (const [n, line] of drawn)  // the active one stays, as it may have the focus
    if (n !== active && (n < first || n > last)) { line.remove(); drawn.delete(n); }
  for (let n = first; n <= last; n++) place(n);
  place(active);
}

function place(n) {
  const line = drawn.get(n) ?? lineOf(n);
  const link = line.firstElementChild;
  link.tabIndex = n === active ? 0 : -1;
  link.setAttribute("aria-current", n === active && Boolean(state.item));
}

function lineOf(n) {
  const row = hits[n];
  const line = found("hit").content.firstElementChild.cloneNode(true);
  line.style.setProperty("--at", n);
  line.setAttribute("aria-setsize", hits.length);
  line.setAttribute("aria-posinset", n + 1);
  const link = line.firstElementChild;
  link.href = written(openOn(row));
  const texts = [
    row.change ?? row.verdict, row.check, `row ${number(row.row)}`, row.item, saidValue(row), row.reason,
    row.seconds === null ? "" : duration(row.seconds),
  ];
  [...link.children].forEach((cell, place) => { fill(cell, clipped(texts[place], 300)); });
  link.children[0].className = TONES[row.change ?? row.verdict] ?? "";
  drawn.set(n, line);
  // In the order of the list, which is the order in which they are read aloud.
  const after = [...drawn.keys()].filter(place => place > n);
  list.insertBefore(line, after.length ? drawn.get(Math.min(...after)) : null);
  return line;
}

function reveal(n) {
  const top = n * height;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + height > list.scrollTop + list.clientHeight) list.scrollTop = top + height - list.clientHeight;
}

function focusOn(n) {
  if (!hits.length) return;
  active = Math.min(Math.max(n, 0), hits.length - 1);
  reveal(active);
  draw();
  drawn.get(active).firstElementChild.focus({ preventScroll: true });
}

/* -- one item ------------------------------------------------------------------------------------------------------ */

function showItem(row, n) {
  if (!state.item) { if (dialog.open) dialog.close(); return; }
  fill(found("item-title"), state.item);
  found("item-place").textContent = row ? placeOf(row, n)
    : "This item is not among the rows that this page holds. The command below tells of it.";
  found("item-facts").replaceChildren(...(row ? facts(row) : []).flatMap(pair));
  found("explain").hidden = !page.explain;
  found("item-command").textContent = page.explain.replace(/ITEM$/, () => quoted(said(state.item)));
  found("copied").textContent = "";
  if (!dialog.open) { opener = document.activeElement; dialog.showModal(); }
  dialog.scrollTop = 0;
}

function placeOf(row, n) {
  const among = n < 0 ? "not among the rows that the filters show"
    : `${number(n + 1)} of ${number(hits.length)} in the list`;
  return `${row.verdict}, ${apart(row.check)}, row ${number(row.row)}, ${among}`;
}

function facts(row) {
  const now = row.before ? "now" : "verdict";
  return [
    ...(row.change ? [["change", row.change]] : []),
    ...(row.before ? [["then", answer(row.before)], ["", row.before.reason]] : []),
    [now, answer(row)],
    [row.before ? "" : "reason", row.reason],
    ...inputs(row),
    ...(row.cut ? [["", "Texts are shortened here; results.jsonl has them whole."]] : []),
    ...Object.entries(row.segments),
    ...(row.repeat ? [["repeat", String(row.repeat)]] : []),
    ...(row.seconds === null ? [] : [["evaluated in", duration(row.seconds)]]),
  ].filter(([, text]) => text);
}

/* The baseline's stands above each input that was another one there. */
function inputs(row) {
  const [now, before] = [row.inputs, row.before?.inputs ?? {}].map(texts => new Map(Object.entries(texts)));
  return [...new Set([...now.keys(), ...before.keys()])].flatMap(key =>
    before.has(key) && before.get(key) !== now.get(key)
      ? [[`${key}, then`, before.get(key)], [`${key}, now`, now.get(key)]]
      : [[key, now.get(key)]]);
}

function pair([name, text]) {
  const [term, description] = [document.createElement("dt"), document.createElement("dd")];
  fill(term, name);
  fill(description, String(text));
  return [term, description];
}

function answer(of) {
  const isSaid = of.score === null || Number.parseFloat(of.value) === of.score;
  return [of.verdict, saidValue(of), isSaid ? "" : `score ${share(of.score)}`].filter(Boolean).join(", ");
}

/* The browser gives the focus back to a link outside of the list; in the list it goes to the row that was read last. */
function leave() {
  if (!state.item) return;  // left by the back button, or for the search
  go(closed(state));
  if (opener.isConnected && opener !== document.body && !list.contains(opener)) return;
  focusOn(active);
  list.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const n = Math.min(Math.max(active + by, 0), hits.length - 1);
  if (!state.item) focusOn(document.activeElement.closest?.("#hits-list") ? n : active);
  else if (hits[n]) go(openOn(hits[n]), { replace: true });
}

async function copy() {
  try {
    await navigator.clipboard.writeText(found("item-command").textContent);
    found("copied").textContent = "Copied.";
  } catch {  // refused, or none: an old browser, or a page that is not trusted with it
    getSelection().selectAllChildren(found("item-command"));
    found("copied").textContent = "The command is selected: copy it by Ctrl+C.";
  }
}

/* -- texts --------------------------------------------------------------------------------------------------------- */

/* A visible sign for each character that is no text (as report/text.py does). */
const said = text => text.replace(/[\0-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]/g, "\ufffd");
/* Whichever way the text reads, what stands around it reads its own: for where no element of its own can be. */
const apart = text => `\u2068${said(text)}\u2069`;
const clipped = (text, most) => text.length > most ? text.slice(0, most - 1) + "\u2026" : text;
const quoted = text => /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
const number = n => n.toLocaleString("en");
const share = n => n > 0 && n < .0005 ? "<0.001" : n >= .9995 && n < 1 ? ">0.999" : n.toFixed(3);
const duration = s => s < .0005 ? "<1 ms" : s < 1 ? `${Math.round(1000 * s)} ms` : s < 60 ? `${s.toFixed(1)} s`
  : `${Math.floor(Math.round(s) / 60)} min ${Math.round(s) % 60} s`;
const JUDGED = { passed: "Passed", "not passed": "Failed" };  // as the platform says it: the verdict has said so
const saidValue = of => of.value && of.value !== JUDGED[of.verdict] ? of.value : "";

function fill(element, text) {
  element.dir = "auto";  // keeps the text's direction to itself
  element.textContent = said(text);
}

/* -- what the user does -------------------------------------------------------------------------------------------- */

function listen() {
  form.addEventListener("input", ({ target }) =>
    go({ ...closed(state), [target.name]: target.value }, { replace: target.name === "q" }));
  form.addEventListener("submit", event => { event.preventDefault(); focusOn(0); });
  list.addEventListener("scroll", () => draw(), { passive: true });
  list.addEventListener("focusin", ({ target }) => {
    active = [...drawn].find(([, line]) => line.contains(target))[0];
  });
  new ResizeObserver(() => draw()).observe(list);
  found("clear").addEventListener("click", () => { go({ sort: state.sort }); form.elements.q.focus(); });
  found("previous").addEventListener("click", () => step(-1));
  found("next").addEventListener("click", () => step(1));
  found("close").addEventListener("click", () => dialog.close());
  found("copy").addEventListener("click", copy);
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });  // beside it
  dialog.addEventListener("close", leave);
  document.addEventListener("keydown", pressed);
  window.addEventListener("hashchange", () => { show(); if (!state.item) bringIntoView(); });
}

function bringIntoView() {
  found("list-title").focus({ preventScroll: true });
  found("list").scrollIntoView();
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inField = event.target.matches("input, select");
  const inList = list.contains(event.target);
  const steps = {
    j: 1, k: -1, ...(inList && { ArrowDown: 1, ArrowUp: -1 }), ...(dialog.open && { ArrowRight: 1, ArrowLeft: -1 }),
  };
  if (event.key === "/" && !inField) { go(closed(state)); form.elements.q.focus(); }
  else if (event.key === "Escape" && event.target === form.elements.q) go({ ...state, q: "" });
  else if (event.key in steps && !inField) step(steps[event.key]);
  else return;
  event.preventDefault();
}

async function begin() {
  found("list").hidden = false;
  found("hits").textContent = "Opening the rows \u2026";
  try {
    if (!window.DecompressionStream) throw new Error("this browser cannot unpack them");
    await open();
  } catch (error) {
    form.hidden = list.hidden = true;
    document.querySelectorAll("#list .hits, #list .keys").forEach(one => { one.hidden = true; });
    found("list-problem").hidden = false;
    found("list-problem").textContent = `The list of all rows can't be opened (${error.message}). `
      + "The rest of this page is complete, and results.jsonl has every row.";
    return;
  }
  listen();
  show();
  if (written(state) !== "#" && !state.item) bringIntoView();
  prepareSearch();
}

// After the first paint: what the page says is read while the rows are unpacked.
requestAnimationFrame(() => setTimeout(begin));
})();
