// Recording: the character's canvas and the microphone, the sound held back by as much as the picture is late.

const TYPES = ["video/mp4;codecs=avc1.42E01F,mp4a.40.2", "video/mp4;codecs=avc1,opus", "video/mp4", "video/webm;codecs=vp9,opus", "video/webm"];
const LONGEST_DELAY_S = 2;
const APART_S = 0.015; // sound and picture of a take, before the one follows the other

// The microphone as it is heard: how loud, and a delayed copy for the recording.
export class Microphone {
  constructor(stream) {
    this.context = new AudioContext();
    this.source = this.context.createMediaStreamSource(new MediaStream(stream.getAudioTracks()));
    this.analyser = this.context.createAnalyser();
    this.analyser.fftSize = 1024;
    this.samples = new Float32Array(this.analyser.fftSize);
    this.delay = this.context.createDelay(LONGEST_DELAY_S);
    this.out = this.context.createMediaStreamDestination();
    this.source.connect(this.analyser);
    this.source.connect(this.delay).connect(this.out);
    this.context.resume();
  }

  // 0 silent to 1 loudest, on a scale of 60 dB.
  get loudness() {
    this.analyser.getFloatTimeDomainData(this.samples);
    const power = this.samples.reduce((sum, x) => sum + x * x, 0) / this.samples.length;
    return Math.max(0, Math.min(1, 1 + Math.log10(power + 1e-12) / 6));
  }

  // Calls `each(pcm16, capturedMs)` for every 40 ms.
  async hear(each) {
    await this.context.audioWorklet.addModule("hear.js");
    this.ear = new AudioWorkletNode(this.context, "hear", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.ear.port.onmessage = ({ data }) => each(data, performance.now() - 40);
    this.source.connect(this.ear);
  }

  delayed(ms) {
    this.delay.delayTime.value = Math.min(LONGEST_DELAY_S, ms / 1000);
    return this.out.stream.getAudioTracks();
  }

  // Pictures are later now, or less late: so is the sound, so slowly that nobody hears it.
  follow(ms) {
    const wanted = Math.min(LONGEST_DELAY_S, ms / 1000), now = this.delay.delayTime;
    if (Math.abs(wanted - now.value) > APART_S) now.setTargetAtTime(wanted, this.context.currentTime, 1.5);
  }

  close() { this.context.close(); }
}

// Begins at once with what `shown` shows, and goes on with what `show` is given; `finish()` resolves to { url, suffix }.
// A film keeps its size whoever comes on: characters of other sizes are whole and in the middle of it.
export class Take {
  constructor(shown, soundTracks, fps) {
    this.canvas = Object.assign(document.createElement("canvas"), { width: shown.width & ~1, height: shown.height & ~1 });
    this.paint = this.canvas.getContext("2d", { alpha: false });
    const stream = this.canvas.captureStream(fps);
    this.show(shown);
    soundTracks.forEach((track) => stream.addTrack(track));
    this.type = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    this.parts = [];
    this.begun = performance.now();
    this.recorder = new MediaRecorder(stream, { mimeType: this.type, videoBitsPerSecond: 8_000_000 });
    this.recorder.ondataavailable = (event) => this.parts.push(event.data);
    this.recorder.start(1000);
  }

  show(shown) {
    const { width, height } = this.canvas, scale = Math.min(width / shown.width, height / shown.height);
    const [w, h] = [Math.round(shown.width * scale), Math.round(shown.height * scale)];
    if (w < width - 1 || h < height - 1) this.paint.fillRect(0, 0, width, height);
    this.paint.drawImage(shown, (width - w) >> 1, (height - h) >> 1, w, h);
  }

  get seconds() { return (performance.now() - this.begun) / 1000; }

  finish() {
    return new Promise((resolve) => {
      this.recorder.onstop = () => resolve({
        url: URL.createObjectURL(new Blob(this.parts, { type: this.type })),
        suffix: this.type.startsWith("video/mp4") ? ".mp4" : ".webm",
      });
      if (this.recorder.state === "inactive") this.recorder.onstop();
      else this.recorder.stop();
    });
  }
}
