// Looks at pages as people do: in Chromium, light and dark, wide and narrow, with and without scripts. Fails on a violation of
// accessibility (axe-core), of the content security policy, on an error of a script, and on a page wider than its window.
//
// look.mjs CHROMIUM FOLDER NAME=ADDRESS...
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";
import puppeteer from "puppeteer-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const [program, folder, ...pages] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const browser = await puppeteer.launch({ executablePath: program, headless: true, args: ["--no-sandbox", "--disable-gpu"] });
let faults = 0;
const fault = (where, what) => {
  faults += 1;
  console.log(`${where}: ${what}`);
};
for (const one of pages) {
  const at = one.indexOf("=");
  const [name, address] = [one.slice(0, at), one.slice(at + 1)];
  for (const theme of ["light", "dark"]) {
    for (const [size, width] of [["wide", 1280], ["narrow", 390]]) {
      const where = `${name} ${theme} ${size}`;
      const page = await browser.newPage();
      page.on("pageerror", (error) => fault(where, `script: ${error.message}`));
      page.on("console", (said) => {
        if (said.type() === "error") fault(where, `console: ${said.text()}`);
      });
      await page.evaluateOnNewDocument(() => {
        window.refused = [];
        document.addEventListener("securitypolicyviolation", (e) => window.refused.push(`${e.violatedDirective} ${e.blockedURI}`));
      });
      await page.setViewport({ width, height: 900, deviceScaleFactor: 1 });
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
      await page.goto(address, { waitUntil: "load" });
      for (const refused of await page.evaluate(() => window.refused)) fault(where, `content security policy: ${refused}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 0) fault(where, `${wide} pixels wider than its window`);
      await page.screenshot({ path: `${folder}/${name}-${theme}-${size}.png`, fullPage: true });
      // What is folded must be as good as the rest. The tool itself may run: the policy is the page's, not its.
      await page.evaluate(() => document.querySelectorAll("details").forEach((details) => details.setAttribute("open", "")));
      const context = await page.createCDPSession();
      await context.send("Runtime.evaluate", { expression: axe });
      const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      for (const violation of found.violations) {
        const places = violation.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ");
        fault(where, `${violation.id}: ${violation.help} (${places})`);
      }
      await page.close();
    }
  }
  // Without scripts all is there, but that it stays as it was.
  const page = await browser.newPage();
  await page.setJavaScriptEnabled(false);
  await page.goto(address, { waitUntil: "load" });
  await page.setJavaScriptEnabled(true);
  const text = await page.evaluate(() => document.getElementById("content").innerText.length);
  if (text < 100) fault(`${name} without scripts`, "nothing to read");
  await page.close();
}
await browser.close();
console.log(faults === 0 ? `${pages.length} pages: no fault` : `${faults} faults`);
process.exitCode = faults === 0 ? 0 : 1;
