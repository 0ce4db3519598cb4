app.post("/seleqt-webhook", async (req, res) => {
const { event, message } = req.body || {};
if (event !== "incoming_message") {
return res.status(200).send("ignored");
}
// Process the incoming message
console.log(`New message from ${message.lead.first_name} ${message.lead.last_name}: ${message.message}`);
// TODO: Add your business logic here
res.status(200).send({ ok: true });
});
