// Six invented records for each data set, in the columns, types and file names that the hub's data sets have.
// Written by DuckDB and, for ARC and NarrativeQA, by Apache Arrow for Rust (parquet-wasm), neither of which eellm uses.
//
//     npm install @duckdb/node-api@1.5.6-r.1 parquet-wasm@0.8.0 apache-arrow@21.2.0
//     node make_sets.js FOLDER
import { mkdirSync, writeFileSync } from "node:fs";
import { DuckDBInstance } from "@duckdb/node-api";
import * as arrow from "apache-arrow";
import { Compression, Table, WriterPropertiesBuilder, writeParquet } from "parquet-wasm/node";

const folder = process.argv[2];
const db = await (await DuckDBInstance.create()).connect();
const numbers = [1, 2, 3, 4, 5, 6];

const quoted = (value) =>
  typeof value === "string" ? `'${value.replaceAll("'", "''")}'`
  : Array.isArray(value) ? `[${value.map(quoted).join(", ")}]`
  : String(value);

/** types: the columns in SQL. */
async function duckdb(file, types, rows, compression) {
  mkdirSync(`${folder}/${file}`.replace(/[^/]*$/, ""), { recursive: true });
  await db.run(`CREATE OR REPLACE TABLE t (${types})`);
  for (const row of rows) await db.run(`INSERT INTO t VALUES (${Object.values(row).map(quoted).join(", ")})`);
  await db.run(`COPY t TO '${folder}/${file}' (FORMAT PARQUET, COMPRESSION '${compression}')`);
}

function rust(file, fields, rows, compression) {
  mkdirSync(`${folder}/${file}`.replace(/[^/]*$/, ""), { recursive: true });
  const vectors = Object.fromEntries(
    fields.map((field) => [field.name, arrow.vectorFromArray(rows.map((row) => row[field.name]), field.type)]));
  const stream = arrow.tableToIPC(new arrow.Table(new arrow.Schema(fields), vectors), "stream");
  const properties = new WriterPropertiesBuilder().setCompression(compression).build();
  writeFileSync(`${folder}/${file}`, writeParquet(Table.fromIPCStream(stream), properties));
}

const text = new arrow.Utf8();
const field = (name, type = text) => new arrow.Field(name, type, true);
const list = (type) => new arrow.List(field("element", type));

for (const [split, of] of [["test", "test"], ["dev", "example"]]) {
  await duckdb(
    `mmlu/${split}-00000-of-00001.parquet`,
    "question VARCHAR, subject VARCHAR, choices VARCHAR[], answer BIGINT",
    ["high_school_physics", "world_religions"].flatMap((subject) => numbers.map((n) => ({
      question: ` What is ${of} ${n}'s answer?`,
      subject,
      choices: [`A${n}`, `B${n}`, `C${n}`, `D${n}`],
      answer: n % 4,
    }))),
    "snappy");
}

for (const set of ["Easy", "Challenge"]) {
  const labels = (n) => (n === 6 ? ["1", "2", "3"] : ["A", "B", "C", "D", "E"].slice(0, 3 + (n % 3)));
  rust(
    `ARC-${set}/test-00000-of-00001.parquet`,
    [field("id"), field("question"),
     field("choices", new arrow.Struct([field("text", list(text)), field("label", list(text))])),
     field("answerKey")],
    numbers.map((n) => ({
      id: `${set}_${n}`,
      question: `Which of these is number ${n}?`,
      choices: { text: labels(n).map((label) => `thing ${label}`), label: labels(n) },
      answerKey: labels(n)[n % 3],
    })),
    Compression.ZSTD);
}

await duckdb(
  "boolq/validation-00000-of-00001.parquet",
  "question VARCHAR, answer BOOLEAN, passage VARCHAR",
  numbers.map((n) => ({ question: `is ${n} even`, answer: n % 2 === 0, passage: `Number ${n} -- ${n} is a "number".` })),
  "gzip");

await duckdb(
  "winogrande_xl/validation-00000-of-00001.parquet",
  "sentence VARCHAR, option1 VARCHAR, option2 VARCHAR, answer VARCHAR",
  numbers.map((n) => ({
    sentence: `The cup does not fit the box ${n} because _ is too small.`,
    option1: "the cup", option2: "the box", answer: String(1 + (n % 2)),
  })),
  "uncompressed");

for (const split of ["test", "validation"]) {
  await duckdb(
    `cnn_dailymail/${split}-00000-of-00001.parquet`,
    "article VARCHAR, highlights VARCHAR, id VARCHAR",
    numbers.map((n) => ({
      article: `(Wire) -- In ${split} ${n} a cat sat.\n\n“It sat,” said a dog.`,
      highlights: `Cat ${n} sits .\nDog says so .`, id: `c${n}`,
    })),
    "snappy");
  await duckdb(
    `xsum/${split}-00000-of-00001.parquet`,
    "document VARCHAR, summary VARCHAR, id VARCHAR",
    numbers.map((n) => ({ document: `In ${split} ${n} it rained.\nIt was wet.`, summary: `Rain ${n}.`, id: `x${n}` })),
    "zstd");
  const named = (first, ...more) => new arrow.Struct([field("text"), field("tokens", list(text)), ...more]);
  rust(
    `narrativeqa/${split}-00000-of-00001.parquet`,
    [field("document", new arrow.Struct([
       field("id"), field("kind"), field("url"), field("file_size", new arrow.Int32()),
       field("word_count", new arrow.Int32()), field("start"), field("end"),
       field("summary", named("text", field("url"), field("title"))), field("text")])),
     field("question", named("text")), field("answers", list(named("text")))],
    numbers.map((n) => ({
      document: {
        id: `d${n}`, kind: n % 2 ? "gutenberg" : "movie", url: "http://example.com", file_size: 9, word_count: 4,
        start: "Once", end: "end",
        summary: { text: ` Story ${n}: Ann meets Ben.`, tokens: ["Story"], url: "http://example.com", title: `T${n}` },
        text: "Once upon a time. The end",
      },
      question: { text: `Whom does Ann meet in ${split} ${n}?`, tokens: ["Whom"] },
      answers: [{ text: "Ben", tokens: ["Ben"] }, { text: `Ben ${n}`, tokens: ["Ben", String(n)] }],
    })),
    Compression.SNAPPY);
}

for (const split of ["validation", "train"]) {
  await duckdb(
    `nq_open/${split}-00000-of-00001.parquet`,
    "question VARCHAR, answer VARCHAR[]",
    numbers.map((n) => ({ question: `who is ${split} ${n}`, answer: n % 2 ? [`Ann ${n}`] : [`Ann ${n}`, "Ann"] })),
    "snappy");
}

for (const split of ["test", "train"]) {
  await duckdb(
    `gsm8k/${split}-00000-of-00001.parquet`,
    "question VARCHAR, answer VARCHAR",
    numbers.map((n) => ({
      question: `Ann has ${n} cups and buys 1 in ${split}. How many has she?`,
      answer: `She has ${n}+1=<<${n}+1=${n + 1}>>${n + 1} cups.\n#### ${n + 1}`,
    })),
    "snappy");
}

// Every kind of value, and missing ones; the same table in three formats.
await db.run(`CREATE OR REPLACE TABLE t (name VARCHAR, "full name" VARCHAR, n INTEGER, big BIGINT, x DOUBLE, f FLOAT, flag BOOLEAN)`);
await db.run(`INSERT INTO t VALUES
  ('plain', 'one', 1, 9007199254740993, 0.5, 0.25, true),
  ('a "quoted", text', E'two\\nlines', -2, 2, 1e-9, -1.5, false),
  ('Größe €', E'tab\\there', NULL, NULL, NULL, NULL, NULL),
  ('', ' spaced ', 0, 0, 0, 0, true)`);
await db.run(`COPY t TO '${folder}/table.parquet' (FORMAT PARQUET, COMPRESSION 'snappy')`);
await db.run(`COPY t TO '${folder}/table.csv' (HEADER)`);
await db.run(`COPY t TO '${folder}/table.csv.gz' (HEADER, COMPRESSION gzip)`);
await db.run(`COPY t TO '${folder}/table.tsv' (HEADER, DELIMITER '\t')`);
await db.run(`COPY (SELECT * FROM range(30000) s(i)) TO '${folder}/many.parquet' (FORMAT PARQUET, COMPRESSION 'zstd', ROW_GROUP_SIZE 4096)`);
