// Made-up people, each in a sentence and as JSON: node bench/people.mjs COUNT > people.jsonl
//
// The same ones each time. They train a model that writes JSON (configs/json-8m.yaml), and
// bench/structured.mjs asks it for others.
import {fileURLToPath} from "node:url";

const NAMES = ["Ana", "Boris", "Chen", "Dora", "Emil", "Fatima", "Goran", "Hana", "Ivo", "Jana", "Kofi", "Lena", "Marko", "Nina"];
const SURNAMES = ["Kovac", "Berg", "Silva", "Okafor", "Tanaka", "Novak", "Haas", "Moreau", "Rossi", "Lund", "Petrov", "Weber"];
const CITIES = ["Porto", "Graz", "Split", "Lagos", "Osaka", "Lyon", "Bergen", "Turin", "Gdansk", "Basel"];
const HOBBIES = ["chess", "tea", "running", "poems", "bees", "sailing", "maps", "radio", "bread", "stamps"];
export const SCHEMA = {
  type: "object",
  additionalProperties: false,
  required: ["full_name", "age_in_years", "address", "hobbies", "is_member"],
  properties: {
    full_name: {type: "string", maxLength: 40},
    age_in_years: {type: "integer", minimum: 0, maximum: 130},
    address: {
      type: "object",
      additionalProperties: false,
      required: ["street_number", "city"],
      properties: {street_number: {type: "integer", minimum: 1, maximum: 999}, city: {enum: CITIES}},
    },
    hobbies: {type: "array", items: {enum: HOBBIES}, minItems: 1, maxItems: 3},
    is_member: {type: "boolean"},
  },
};

/** Who says a next person each time, by a linear congruential generator. */
export function people(seed) {
  let state = seed;
  const draw = (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const one = (list) => list[draw(list.length)];
  return () => {
    const name = `${one(NAMES)} ${one(SURNAMES)}`;
    const age = 18 + draw(70);
    const number = 1 + draw(200);
    const city = one(CITIES);
    const hobbies = [...new Set([one(HOBBIES), one(HOBBIES)])];
    const member = draw(2) === 1;
    const sentence =
      `${name} is ${age}, lives at number ${number} in ${city}, likes ${hobbies.join(" and ")}` +
      ` and is ${member ? "a" : "no"} member.\n`;
    const json = {
      full_name: name,
      age_in_years: age,
      address: {street_number: number, city},
      hobbies,
      is_member: member,
    };
    return {sentence, json: JSON.stringify(json)};
  };
}

/** Records to train with, a line each. */
export function lines(count) {
  return Array.from({length: count}, people(12345)).map(({sentence, json}) => JSON.stringify({text: `${sentence}${json}`}));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const count = Number(process.argv[2]);
  if (!(count > 0)) {
    throw new Error("say how many people: node bench/people.mjs 60000 > people.jsonl");
  }
  process.stdout.write(`${lines(count).join("\n")}\n`);
}
