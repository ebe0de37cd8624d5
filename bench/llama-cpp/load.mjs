// Clients at a server with OpenAI's API: node load.mjs URL TOKENS [SAMPLING] CLIENTS:TEXTS ...
//
// Waits for the server. Then, for each CLIENTS:TEXTS, so many clients stream that many texts each,
// one after the other, after a text each to warm up. SAMPLING is JSON for the requests, as in
// '{"temperature": 0.8, "top_p": 0.95}'; without it texts are greedy. Prints the tokens per second of
// all clients together, a word for each. Prompts are 16 random ids, so that none goes on from another.
import {awaitServer} from "./server.mjs";

const [url, tokens] = [process.argv[2], Number(process.argv[3])];
const sampling = process.argv[4]?.startsWith("{") ? JSON.parse(process.argv.splice(4, 1)[0]) : {temperature: 0};
const loads = process.argv.slice(4).map((load) => load.split(":").map(Number));
let state = 1;

function randomId() {
  state = (state * 48271) % 2147483647;
  return 300 + (state % 30000);
}

// Asks again where the server has closed a connection that was kept open for this.
async function ask(body, tries = 3) {
  try {
    return await fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify(body),
    });
  } catch (error) {
    if (tries === 1) {
      throw error;
    }
    return ask(body, tries - 1);
  }
}

// Streams a text; how many tokens it has, by the server's count. llama.cpp's server breaks a stream
// off at bytes that are no UTF-8, which a random model says now and then: the events so far count.
async function text() {
  const body = {
    prompt: Array.from({length: 16}, randomId),
    max_tokens: tokens,
    ...sampling,
    stream: true,
    stream_options: {include_usage: true},
  };
  const answer = await ask(body);
  if (!answer.ok) {
    throw new Error(`status ${answer.status}: ${await answer.text()}`);
  }
  let received = "";
  let broken = false; // then the last event may be incomplete, too
  try {
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
      received += part;
    }
  } catch (error) {
    broken = true;
  }
  if (broken) {
    return received.split("\n").filter((line) => line.startsWith("data: {")).length;
  }
  const events = received
    .split("\n")
    .filter((line) => line.startsWith("data: {"))
    .map((line) => JSON.parse(line.slice("data: ".length)));
  const usage = events.map((event) => event.usage).findLast((found) => found);
  if (!usage) {
    throw new Error(`a text that has not ended: ${received.slice(-200)}`);
  }
  return usage.completion_tokens;
}

async function client(texts) {
  let count = 0;
  for (let i = 0; i < texts; i++) {
    count += await text();
  }
  return count;
}

// The tokens of all clients' texts.
async function clients(count, texts) {
  const counts = await Promise.all(Array.from({length: count}, () => client(texts)));
  const sum = counts.reduce((a, b) => a + b);
  if (sum < 0.8 * count * texts * tokens) {
    throw new Error(`${count * texts} texts of ${sum} tokens together: they have ended too early`);
  }
  return sum;
}

await awaitServer(url);
const rates = [];
for (const [count, texts] of loads) {
  await clients(count, 1);
  const start = performance.now();
  const made = await clients(count, texts);
  rates.push((1000 * made) / (performance.now() - start));
}
console.log(rates.map((rate) => rate.toFixed(1)).join(" "));
