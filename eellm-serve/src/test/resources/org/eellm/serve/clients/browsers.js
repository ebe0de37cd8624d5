// Chromium for many runs of browser.js, until the standard input ends; prints where it is.
import { chromium } from 'playwright-core';

const server = await chromium.launchServer({ executablePath: process.argv[2], args: ['--no-sandbox'] });
console.log(server.wsEndpoint());
process.stdin.on('end', () => server.close()).resume();
