// Runs the commands that the pages show, in the order of docs/README.md: node deploy/test/pages.mjs [PAGE ...]
//
// A fresh clone is best: what a page makes, later pages use. JDK 25 has to come first in PATH. Servers run until the next one
// starts at their port, or the page ends. Prints each command with its seconds; the exit code is 1 if one failed. What they
// wrote lies in target/pages.
// Commands that need another machine, much time or data that eellm does not have are left out or shortened, as said below.
import {spawn, spawnSync} from "node:child_process";
import {copyFileSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync} from "node:fs";
import {join} from "node:path";
import {awaitServer} from "../../bench/llama-cpp/server.mjs";

const LEFT_OUT = [
  [/^mvn verify/, ".ci/run runs it"],
  [/^(docker|kubectl|sbatch)/, "for other machines"],
  [/^java -/, "a program of the reader's own"],
  [/^deploy\/(openmpi|torchrun|ssh)\//, "for several machines; deploy/test tries them"],
  [/ run\.yaml/, "a configuration of the reader's own"],
  [/^EELLM_PROFILE=cuda/, "needs a GPU"],
  [/lambada,|Llama-3\.2-1B|llama-7b/, "needs data or a model of others"],
];
const SHORTER = [
  ["train.steps=5000", "train.steps=620"],
  ["--config configs/novels-10m.yaml", "--config configs/novels-10m.yaml --set train.steps=20 --set optimizer.warmup_steps=2"],
  ["--limit 100", "--limit 10"],
  ["--preset tune-chat", "--preset tune-chat --set data.sequence_length=256 --set train.steps=100"],
  [" --adapter sums=other-lora", ""],
];
const work = "target/pages";
const sh = {encoding: "utf8", maxBuffer: 1 << 28};

// What the reader brings: a text, a chat template, a Llama without exits, tasks of one's own.
function bring() {
  mkdirSync("texts", {recursive: true});
  for (const page of readdirSync("docs").filter((name) => name.endsWith(".md"))) {
    copyFileSync(join("docs", page), join("texts", page.replace(".md", ".txt")));
  }
  mkdirSync("data/mine", {recursive: true});
  copyFileSync("docs/concepts.md", "data/mine/concepts.txt");
  const places = ["France,Paris", "Italy,Rome", "Spain,Madrid", "Japan,Tokyo", "Peru,Lima"];
  writeFileSync("data/mine/capitals.csv", ["country,capital", ...places, ""].join("\n"));
  writeFileSync("capitals.yaml", /```yaml\n(task: capitals\n[^`]*)```/.exec(readFileSync("docs/evaluate.md", "utf8"))[1]);
  writeFileSync("chats.jsonl", '{"prompt": "A bird?", "completion": "It sang."}\n'.repeat(3000));
}

function bringLlama() {
  if (existsSync("runs/quickstart") && !existsSync("llama")) {
    const made = spawnSync("./eellm", ["add-exits", "--model", "runs/quickstart", "--remove", "2,4", "--output", "llama"], sh);
    if (made.status !== 0) {
      throw new Error(`no llama could be made of runs/quickstart: ${made.stderr}`);
    }
    const turns = "{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";
    writeFileSync("llama/chat_template.jinja", turns);
  }
}

function pages() {
  const names = [...readFileSync("docs/README.md", "utf8").matchAll(/\]\((?:reports\/)?([a-z-]+)\.md\)/g)].map((link) => link[1]);
  return ["README", ...new Set(names)].filter((name) => existsSync(file(name)));
}

function file(page) {
  return page === "README" ? "README.md" : join("docs", `${page}.md`);
}

// A command may take several lines: they end where a shell finds them whole.
function commands(block) {
  const found = [];
  let lines = "";
  for (const line of block.split("\n")) {
    lines += `${line}\n`;
    const check = spawnSync("bash", ["-n", "-c", lines], sh);
    if (!line.endsWith("\\") && check.status === 0 && !check.stderr) {
      found.push(lines.trim());
      lines = "";
    }
  }
  return found.filter((command) => command && !command.startsWith("#"));
}

function blocks(page) {
  const all = [...readFileSync(file(page), "utf8").matchAll(/^( *)```(\w*)\n([^]*?)^ *```/gm)];
  return all
    .filter(([, , kind, text]) => kind === "sh" || (kind === "" && /^ *(\.\/eellm|for |printf|cat |jq|python3|mvn|\w+=)/.test(text)))
    .map(([, indent, , text]) => text.replaceAll(new RegExp(`^${indent}`, "gm"), ""));
}

const servers = new Map(); // by port

function stop(port) {
  servers.get(port)?.kill();
  servers.delete(port);
}

async function serve(command, log) {
  const port = /--port (\d+)/.exec(command)?.[1] ?? "8000";
  if (servers.has(port)) {
    const ended = new Promise((done) => servers.get(port).once("exit", done));
    stop(port);
    await ended;
  }
  const out = openSync(log, "w");
  const server = spawn("bash", ["-c", `exec ${command}`], {stdio: ["ignore", out, out]});
  servers.set(port, server);
  await awaitServer(`http://127.0.0.1:${port}`);
}

process.on("exit", () => [...servers.keys()].forEach(stop));
process.on("SIGINT", () => process.exit(130));
process.on("SIGTERM", () => process.exit(143));
mkdirSync(work, {recursive: true});
writeFileSync(join(work, ".curlrc"), "fail-with-body\n");
process.env.CURL_HOME = work;
bring();
const done = new Set();
let count = 0;
let failed = 0;
const chosen = process.argv.slice(2);
for (const page of chosen.length > 0 ? chosen : pages()) {
  console.log(`\n${file(page)}`);
  for (const shown of blocks(page).flatMap(commands)) {
    const command = SHORTER.reduce((all, [long, short]) => all.replaceAll(long, short), shown);
    const title = command.split("\n")[0].slice(0, 100);
    const why = LEFT_OUT.find(([pattern]) => pattern.test(command))?.[1];
    if (why) {
      console.log(`  left out, ${why}: ${title}`);
      continue;
    }
    const serves = /^\.\/eellm serve/.test(command);
    if (done.has(command) && !serves) {
      continue; // several pages show it
    }
    done.add(command);
    bringLlama();
    const log = join(work, `${String(++count).padStart(3, "0")}-${page}.txt`);
    const start = Date.now();
    let status = 0;
    try {
      if (serves) {
        await serve(command, log);
      } else {
        if (/127\.0\.0\.1:8000|bench serve --(clients|arrivals 0.5,)/.test(command) && !servers.has("8000")) {
          await serve("./eellm serve --model runs/quickstart", join(work, "server.txt"));
        }
        const run = spawnSync("bash", ["-eo", "pipefail", "-c", `exec 2>&1; ${command}`], {...sh, timeout: 1_200_000, input: ""});
        writeFileSync(log, `$ ${command}\n${run.stdout}`);
        status = run.status ?? run.signal;
      }
    } catch (error) {
      status = error.message;
    }
    failed += status === 0 ? 0 : 1;
    const seconds = ((Date.now() - start) / 1000).toFixed(1);
    console.log(`  ${status === 0 ? "ok" : `FAILED (${status}, ${log})`} ${seconds} s  ${title}`);
  }
  [...servers.keys()].forEach(stop);
}
console.log(`\n${count} commands, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
