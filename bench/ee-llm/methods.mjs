// Puts what methods.sh measured into docs/reports/methods.json: node bench/ee-llm/methods.mjs FOLDER
//
// Methods, their papers and what these claim stay as they are there; figures come from FOLDER/sweep-*/sweep.csv.
import {existsSync, readFileSync, writeFileSync} from "node:fs";
import {join} from "node:path";

const [folder] = process.argv.slice(2);
const report = new URL("../../docs/reports/methods.json", import.meta.url);
const measured = ["java", "novels", "json", "long"].flatMap((trunk) => rows(trunk));

function rows(trunk) {
  const file = join(folder, `sweep-${trunk}`, "sweep.csv");
  if (!existsSync(file)) {
    throw new Error(`${file} is missing: bench/ee-llm/methods.sh makes it`);
  }
  // Options in quotes have commas, and no figure of this table.
  const [head, ...lines] = readFileSync(file, "utf8").replace(/"[^"]*"/g, "").trim().split("\n").map((line) => line.split(","));
  return lines.map((cells) => ({trunk, ...Object.fromEntries(head.map((name, i) => [name, cells[i]]))}));
}

function find(name, trunk, where = {}) {
  const wanted = {temperature: 0, batch_size: 1, ...where};
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
    return "null";
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
    speedUp(find(name, "long", {context: 1000})),
    speedUp(find(name, "long", {context: 3800})),
  ],
};
const {tables} = JSON.parse(readFileSync(report, "utf8"));
const text = Object.entries(tables).map(([key, table]) => {
  const words = ["command", "statistic", "processor", "commit"].map((word) => `      "${word}": ${JSON.stringify(table[word])},\n`);
  const kept = {methods: 2, settings: 1, designs: table.columns.length}[key]; // columns of words
  const lines = table.rows.map((row) => {
    const name = row[0].split(" (")[0];
    return `        [${[...row.slice(0, kept).map((cell) => JSON.stringify(cell)), ...(cells[key]?.(name) ?? [])].join(", ")}]`;
  });
  return `    "${key}": {\n${words.join("")}      "columns": [${table.columns.map((name) => JSON.stringify(name)).join(", ")}],\n`
    + `      "rows": [\n${lines.join(",\n")}\n      ]\n    }`;
});
writeFileSync(report, `{\n  "tables": {\n${text.join(",\n")}\n  }\n}\n`);
