// The client's end of /v1/live (docs/protocol.md): a hello, then pictures with their times, and JSON.
// A lost connection is taken up again under the same session.

export const VERSION = 1, HEADER = 9, JPEG = 1, WEBP = 2, H264 = 3, PCM16 = 4;
const AGAIN_MS = [100, 250, 500, 1000, 2000];
const FINAL = [4400, 4403, 4409]; // trying again would end the same way

export class Wire {
  constructor({ character, session, driver = "camera", reply = "jpeg", renderer }) {
    Object.assign(this, { character, session, driver, reply, renderer });
    this.isReady = false;
    this.tries = 0;
    this.onready = this.onpicture = this.onsaid = this.onlost = () => {};
    this.open();
  }

  open() {
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = this.socket = new WebSocket(`${scheme}://${location.host}/v1/live`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", version: VERSION, character: this.character, session: this.session, driver: this.driver, reply: this.reply, renderer: this.renderer }));
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.said(JSON.parse(data)) : this.shown(data));
    socket.onclose = ({ code, reason }) => {
      if (socket !== this.socket || this.closed) return;
      this.isReady = false;
      const again = !FINAL.includes(code);
      if (again) this.timer = setTimeout(() => this.open(), AGAIN_MS[Math.min(this.tries++, AGAIN_MS.length - 1)]);
      this.onlost({ code, reason, again, tries: this.tries });
    };
  }

  // Do not wait for the next try: the page is looked at again, or the network is back.
  hurry() {
    if (!this.closed && this.socket.readyState > WebSocket.OPEN) this.open();
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
    this.onpicture(view.getUint8(0), Number(view.getBigInt64(1)), new Uint8Array(data, HEADER));
  }

  // A socket that is being closed says so later.
  get isOpen() { return this.isReady && this.socket.readyState === WebSocket.OPEN; }

  media(kind, timeUs, payload) {
    const message = new Uint8Array(HEADER + payload.length);
    const view = new DataView(message.buffer);
    view.setUint8(0, kind);
    view.setBigInt64(1, BigInt(timeUs));
    message.set(payload, HEADER);
    if (this.isOpen) this.socket.send(message);
  }

  ask(type, value) {
    if (type === "character" || type === "renderer") this[type] = value;
    if (this.isOpen) this.socket.send(JSON.stringify(value === undefined ? { type } : { type, value }));
  }

  close() {
    this.closed = true;
    this.isReady = false;
    clearTimeout(this.timer);
    this.socket.close(1000);
  }
}
