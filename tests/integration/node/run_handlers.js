// Runs the handlers that the documents print, as they are printed, on the port given: node run_handlers.js PORT.
// What the handlers print goes to standard output, a line each. What the documents leave to their reader stands here.
const fs = require("fs");
const path = require("path");
const express = require("express");

global.handleProspectResponded = (data) => console.log("Responded:", data.prospect.name);
global.handleCampaignCompleted = (data) => console.log("Completed:", data.campaign.name);

function printed(name) {
  return fs.readFileSync(path.join(__dirname, name), "utf8");
}

// Kakiyo's makes its own application; Seleqt's is given one.
const kakiyo = new Function("require", printed("kakiyo_handler.js") + "\nreturn app;")(require);
const seleqt = express();
seleqt.use(express.json());
new Function("app", printed("seleqt_handler.js"))(seleqt);

const both = express();
both.use((request, response, next) => (request.path === "/kakiyo/webhook" ? kakiyo : seleqt)(request, response, next));
both.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("listening"));
