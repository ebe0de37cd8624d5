// Puts what methods.sh and designs.sh measured into docs/reports/methods.json: node bench/ee-llm/methods.mjs FOLDER
//
// Methods, their papers and what these claim stay as they are there; figures come from FOLDER/sweep-*/sweep.csv and
// FOLDER/designs.md.
import {existsSync, readFileSync, writeFileSync} from "node:fs";
import {join} from "node:path";

const [folder] = process.argv.slice(2);
const report = new URL("../../docs/reports/methods.json", import.meta.url);
const designs = ["deep", "wide", "qk-norm", "norms-behind"]; // in the order of their rows
const measured = ["java", "java-eight", "java-avx2", "novels", "json", "json-240", "long", "long-3800", ...designs].flatMap((trunk) => rows(trunk));
const losses = readFileSync(join(folder, "designs.md"), "utf8").split("\n").filter((line) => line.startsWith("| design-"))
  .map((line) => line.split("|").map((cell) => cell.trim()).filter((cell) => cell));

function rows(trunk) {
  const file = join(folder, `sweep-${trunk}`, "sweep.csv");
  if (!existsSync(file)) {
    throw new Error(`${file} is missing: bench/ee-llm/${designs.includes(trunk) ? "designs" : "methods"}.sh makes it`);
  }
  // Options in quotes have commas, and no figure of this table.
  const [head, ...lines] = readFileSync(file, "utf8").replace(/"[^"]*"/g, "").trim().split("\n").map((line) => line.split(","));
  return lines.map((cells) => ({trunk, ...Object.fromEntries(head.map((name, i) => [name, cells[i]]))}));
}

function find(name, trunk, where = {}) {
  const wanted = {temperature: 0, ...where};
  const row = measured.find((each) => each.trunk === trunk && each.name === name
    && Object.entries(wanted).every(([key, value]) => Number(each[key]) === value));
  if (!row) {
    throw new Error(`${trunk} has no row ${name} with ${JSON.stringify(wanted)}`);
  }
  return row;
}

function speedUp(row) {
  const [median, least, most] = ["speed_up", "speed_up_least", "speed_up_most"].map((key) => Number(row[key]).toFixed(2));
  if (row.speed_up === "") {
    throw new Error(`${row.trunk} has no speeds: sweep refused them; let methods.sh measure again`);
  }
  return row.name === "full model" ? median : `{"median": ${median}, "least": ${least}, "most": ${most}}`;
}

const cells = {
  methods: (name) => {
    const java = find(name, "java");
    const all = measured.filter((row) => row.name === name && row.lossless !== "");
    return [speedUp(java), Number(java.tokens_per_pass) > 1 ? Number(java.tokens_per_pass).toFixed(2) : "null",
      (100 * Number(java.agreement)).toFixed(1), speedUp(find(name, "novels")), speedUp(find(name, "json")),
      all.every((row) => row.lossless === "true") ? '"yes"' : '"no"'];
  },
  settings: (name) => [
    speedUp(find(name, "java", {temperature: 0.8})),
    speedUp(find(name, "java-eight")),
    speedUp(find(name, "java-avx2")),
    speedUp(find(name, "long")),
    measured.some((row) => row.trunk === "long-3800" && row.name === name) ? speedUp(find(name, "long-3800")) : "null",
  ],
  designs: (_, index) => {
    const design = designs[index];
    const cells = losses.find(([run]) => run === `design-${design}`);
    const agrees = cells.findIndex((cell) => cell.endsWith(" %"));
    const accepted = (100 * Number(find("layerskip", design).acceptance)).toFixed(1);
    return [...[cells[agrees - 1], ...cells.slice(agrees, agrees + 2).map((cell) => cell.split(" ")[0]), accepted].map((cell) => JSON.stringify(cell)),
      ...["max-probability", "layerskip", "adaptive-exits"].map((name) => speedUp(find(name, design)))];
  },
};
let table;
let index;
const lines = readFileSync(report, "utf8").split("\n").map((line) => {
  const title = line.match(/^    "(\w+)": \{/)?.[1];
  if (title) {
    table = title;
    index = 0;
  }
  const [, row, comma] = line.match(/^        (\[.*\])(,?)$/) ?? [];
  if (!row || !cells[table]) {
    return line;
  }
  const words = JSON.parse(row).slice(0, table === "methods" ? 2 : 1);
  return `        [${[...words.map((word) => JSON.stringify(word)), ...cells[table](words[0].split(" (")[0], index++)].join(", ")}]${comma}`;
});
writeFileSync(report, lines.join("\n"));

// What the page's words quote: JSON's 240 texts, and how many pairs of methods have ranges apart on both processors.
console.log("json, 240 texts", ...["draft-head", "all-sources"].map((name) => `${name} ${speedUp(find(name, "json-240"))}`));
const [wide, narrow] = ["java", "java-avx2"].map((trunk) =>
  measured.filter((row) => row.trunk === trunk && row.name !== "full model" && Number(row.temperature) === 0));
const order = (a, b) => Number(a.speed_up_least) > Number(b.speed_up_most) ? 1 : Number(a.speed_up_most) < Number(b.speed_up_least) ? -1 : 0;
let apart = 0;
let swapped = 0;
wide.forEach((a, i) => wide.slice(0, i).forEach((b) => {
  const [one, other] = [a, b].map((row) => narrow.find((each) => each.name === row.name));
  const here = order(a, b);
  const there = order(one, other);
  apart += here * there !== 0;
  swapped += here * there < 0;
}));
console.log(`${apart} pairs of methods have ranges apart with and without AVX-512; ${swapped} of them in another order`);
