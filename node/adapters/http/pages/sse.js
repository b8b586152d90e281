// Server-sent events over fetch: unlike EventSource it can send a key.

/** Call `hear(event, data)` for each event until the stream ends. */
export async function readEvents(answer, hear) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    waiting += value;
    const blocks = waiting.split("\n\n");
    waiting = blocks.pop();
    for (const block of blocks) {
      const fields = { event: "message", data: "" };
      for (const line of block.split("\n")) {
        const [name, ...rest] = line.split(": ");
        if (name in fields) fields[name] = rest.join(": ");
      }
      if (fields.data) hear(fields.event, JSON.parse(fields.data));
    }
  }
}
