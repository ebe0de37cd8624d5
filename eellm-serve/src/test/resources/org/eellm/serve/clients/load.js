// Clients of OpenAI's own that ask without a pause, until a time or a server's end; prints as JSON
// how often each came to what, and all texts that each prompt got.
import OpenAI from 'openai';

const [base, clients, seconds] = process.argv.slice(2);
const PROMPTS = 12;
const until = Date.now() + 1000 * Number(seconds);
const outcomes = {};
const texts = {};

function count(outcome) {
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
}

async function ask(client, number) {
  const request = { model: 'model', prompt: `the cat ${number}`, max_tokens: 20, temperature: 0 };
  if (number % 2 === 1) { // the others are speculative
    request.early_exit = { policy: 'max-probability', threshold: 0.15 };
  }
  if (number % 3 !== 0) {
    return (await client.completions.create(request)).choices[0].text;
  }
  let text = '';
  for await (const part of await client.completions.create({ ...request, stream: true })) {
    text += part.choices[0]?.text ?? '';
  }
  return text;
}

async function talk(first) {
  const client = new OpenAI({ baseURL: `${base}v1`, apiKey: 'none', maxRetries: 0 });
  let failures = 0;
  for (let i = first; Date.now() < until && failures < 3; i++) {
    const number = i % PROMPTS;
    try {
      const text = await ask(client, number);
      count('answered');
      texts[number] = [...new Set([...(texts[number] ?? []), text])];
      failures = 0;
    } catch (error) {
      count(String(error.status ?? error.constructor.name));
      failures++;
    }
  }
}

await Promise.all(Array.from({ length: Number(clients) }, (_, i) => talk(i)));
console.log(JSON.stringify({ outcomes, texts }));
