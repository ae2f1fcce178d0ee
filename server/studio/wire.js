// The client's end of /v1/live (docs/protocol.md): a hello, then pictures with their times, and JSON.
// A lost connection is taken up again under the same session.

export const VERSION = 1, HEADER = 9, JPEG = 1, WEBP = 2, PCM16 = 4;
const AGAIN_MS = [250, 500, 1000, 2000];
const FINAL = [4400, 4403, 4409];

export class Wire {
  constructor({ character, session = null }) {
    this.character = character;
    this.session = session;
    this.isReady = false;
    this.tries = 0;
    this.onready = this.onpicture = this.onsaid = this.onlost = () => {};
    this.open();
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/v1/live`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.send({ type: "hello", version: VERSION, character: this.character, session: this.session });
    this.socket.onmessage = ({ data }) => (typeof data === "string" ? this.said(JSON.parse(data)) : this.shown(data));
    this.socket.onclose = ({ code, reason }) => {
      this.isReady = false;
      if (this.closed) return;
      const again = !FINAL.includes(code);
      this.onlost(reason || "The connection was lost.", again);
      if (again) this.timer = setTimeout(() => this.open(), AGAIN_MS[Math.min(this.tries++, AGAIN_MS.length - 1)]);
    };
  }

  said(message) {
    if (message.type === "ready") {
      this.session = message.session;
      this.isReady = true;
      this.tries = 0;
      this.onready(message);
    } else this.onsaid(message);
  }

  shown(data) {
    const view = new DataView(data);
    const type = view.getUint8(0) === WEBP ? "image/webp" : "image/jpeg";
    this.onpicture(Number(view.getBigInt64(1)), new Blob([new Uint8Array(data, HEADER)], { type }));
  }

  async picture(kind, timeUs, blob) {
    const payload = new Uint8Array(await blob.arrayBuffer());
    const message = new Uint8Array(HEADER + payload.length);
    const view = new DataView(message.buffer);
    view.setUint8(0, kind);
    view.setBigInt64(1, BigInt(Math.round(timeUs)));
    message.set(payload, HEADER);
    if (this.isReady) this.socket.send(message);
  }

  ask(type, value) {
    if (type === "character") this.character = value;
    if (this.isReady) this.send(value === undefined ? { type } : { type, value });
  }

  send(message) { this.socket.send(JSON.stringify(message)); }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket.close();
  }
}
