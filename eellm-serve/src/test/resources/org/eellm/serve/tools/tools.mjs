// Has clients of others call tools and ask for objects; prints what they understood as JSON. The
// model is a random one, so each turn says what it has to do, and asks for one call: of many, a
// random number is written.
import OpenAI from 'openai';
import { ChatOpenAI } from '@langchain/openai';
import { HumanMessage } from '@langchain/core/messages';
import { tool as langchainTool } from '@langchain/core/tools';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

const [base] = process.argv.slice(2);
const baseURL = `${base}/v1`;
const said = {};
const place = z.object({ days: z.number().int().min(1).max(9), place: z.enum(['Köln', 'Bonn']) });
const results = { weather: ({ days, place }) => `${place}: ${days} days of sun`, clock: () => '12:30' };

// OpenAI's own client, in turns and in a stream.
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
const tools = [
  { type: 'function', function: { name: 'weather', parameters: z.toJSONSchema(place) } },
  { type: 'function', function: { name: 'clock' } },
];
const messages = [{ role: 'user', content: 'How is the weather, and how late is it?' }];
said.openai = [];
for (const name of ['weather', 'clock']) {
  const { choices: [{ message, finish_reason }] } = await client.chat.completions.create({
    model: 'small', messages, tools, tool_choice: { type: 'function', function: { name } }, parallel_tool_calls: false, max_tokens: 300,
  });
  messages.push(message);
  for (const { id, function: called } of message.tool_calls) {
    const content = results[called.name](JSON.parse(called.arguments));
    said.openai.push([finish_reason, called.name, content]);
    messages.push({ role: 'tool', tool_call_id: id, content });
  }
}
const last = await client.chat.completions.create({ model: 'small', messages, tools, tool_choice: 'none', max_tokens: 4 });
said.openaiText = typeof last.choices[0].message.content;
const stream = client.chat.completions.stream({ model: 'small', messages, tools, tool_choice: 'required', parallel_tool_calls: false, max_tokens: 300 });
said.openaiStream = (await stream.finalMessage()).tool_calls.every(({ function: called }) => results[called.name](JSON.parse(called.arguments)));

// LangChain: a loop of two tools, and an object.
const model = new ChatOpenAI({ model: 'small', apiKey: 'none', maxRetries: 0, maxTokens: 300, configuration: { baseURL } });
const own = [
  langchainTool(results.weather, { name: 'weather', description: 'Of a place', schema: place }),
  langchainTool(results.clock, { name: 'clock', description: 'The time', schema: z.object({}) }),
];
const dialogue = [new HumanMessage('How is the weather, and how late is it?')];
said.langchain = [];
for (const turn of ['weather', 'clock', 'none']) {
  const answer = await model.bindTools(own, { tool_choice: turn }).invoke(dialogue);
  dialogue.push(answer);
  for (const call of answer.tool_calls) {
    const result = await own.find(each => each.name === call.name).invoke(call);
    said.langchain.push([turn, call.name, result.content]);
    dialogue.push(result);
  }
}
said.langchainEnd = typeof dialogue.at(-1).content;
const streamed = await model.bindTools(own, { tool_choice: 'required', parallel_tool_calls: false }).stream(dialogue.slice(0, 1));
let gathered;
for await (const chunk of streamed) {
  gathered = gathered ? gathered.concat(chunk) : chunk;
}
said.langchainStream = gathered.tool_calls.every(call => results[call.name](call.args));
said.langchainObject = place.safeParse(await model.withStructuredOutput(place, { name: 'place' }).invoke('Where?')).success;

// Vercel's: an object, tools in two steps, and a stream.
const provider = createOpenAICompatible({ name: 'eellm', baseURL, supportsStructuredOutputs: true });
const small = provider('small');
said.aiObject = place.safeParse((await generateObject({ model: small, schema: place, prompt: 'Where?', maxOutputTokens: 300 })).object).success;
const one = { eellm: { parallel_tool_calls: false } };
const aiTools = {
  weather: tool({ description: 'Of a place', inputSchema: place, execute: results.weather }),
  clock: tool({ description: 'The time', inputSchema: z.object({}), execute: results.clock }),
};
const { steps } = await generateText({
  model: small, providerOptions: one, tools: aiTools, toolChoice: 'required', stopWhen: stepCountIs(2), prompt: 'How late is it?', maxOutputTokens: 300, maxRetries: 0,
});
said.ai = steps.map(({ finishReason, toolCalls, toolResults }) => [finishReason, toolCalls.length > 0, toolResults.length === toolCalls.length]);
const ai = streamText({ model: small, providerOptions: one, tools: aiTools, toolChoice: 'required', prompt: 'How late is it?', maxOutputTokens: 300, maxRetries: 0 });
said.aiStream = (await ai.toolResults).length === (await ai.toolCalls).length && (await ai.toolCalls).length > 0;

console.log(JSON.stringify(said));
