// Greedy ids of a server, and where two servers differ:
//
//   node ids.mjs ask llama.cpp|eellm URL TOKENS    prints a line of JSON for each of 8 prompts
//   node ids.mjs compare THEIRS OURS               two files of such lines
//
// Prompts are 16 random ids, the same in every run. llama.cpp also says how far its two best tokens were
// apart, in log probability: where two programs round differently, near ties go either way.
import {readFileSync} from "node:fs";
import {awaitServer} from "./server.mjs";

const PROMPTS = 8;
const [task, ...rest] = process.argv.slice(2);

function prompts() {
  let state = 1;
  const next = () => {
    state = (state * 48271) % 2147483647;
    return 300 + (state % 30000);
  };
  return Array.from({length: PROMPTS}, () => Array.from({length: 16}, next));
}

async function post(url, body) {
  const answer = await fetch(url, {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify(body),
  });
  if (!answer.ok) {
    throw new Error(`${url}: status ${answer.status}: ${await answer.text()}`);
  }
  return answer.json();
}

const asks = {
  "llama.cpp": async (url, prompt, tokens) => {
    const answer = await post(`${url}/completion`, {
      prompt,
      n_predict: tokens,
      temperature: 0,
      n_probs: 2,
      ignore_eos: true,
    });
    const steps = answer.completion_probabilities;
    return {
      ids: steps.map((step) => step.id),
      margins: steps.map((step) => step.top_logprobs[0].logprob - step.top_logprobs[1].logprob),
    };
  },
  eellm: async (url, prompt, tokens) => {
    const answer = await post(`${url}/v1/completions`, {
      prompt,
      max_tokens: tokens,
      temperature: 0,
      ignore_eos: true,
      early_exit: {mode: "full", per_token: true},
    });
    return {ids: answer.choices[0].early_exit.map((token) => token.id)};
  },
};

if (task === "ask") {
  const [program, url, tokens] = rest;
  await awaitServer(url);
  for (const prompt of prompts()) {
    console.log(JSON.stringify(await asks[program](url, prompt, Number(tokens))));
  }
} else {
  const [theirs, ours] = rest.map((file) =>
    readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line)),
  );
  let same = 0;
  const differences = [];
  theirs.forEach(({ids, margins}, i) => {
    const at = ids.findIndex((id, place) => id !== ours[i].ids[place]);
    if (at < 0) {
      same++;
    } else {
      differences.push(`prompt ${i + 1} from token ${at + 1}, where the two best are ${margins[at].toFixed(3)} apart`);
    }
  });
  console.log(
    `${same} of ${theirs.length} texts of ${theirs[0].ids.length} tokens are the same` +
      differences.map((line) => `; ${line}`).join(""),
  );
}
