// An audio worklet: the microphone as PCM16 at 16 kHz, in pieces of 40 ms.

const RATE = 16000, PIECE = 640;

class Hear extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(PIECE);
    this.n = 0;
    this.sum = this.weight = 0; // of the sample that is being gathered
    this.step = sampleRate / RATE; // of ours to one of theirs
  }

  process([[channel]]) {
    for (const x of channel ?? []) {
      // A sample of ours is spread over those of theirs that it overlaps: a box filter.
      const share = Math.min(1, this.step - this.weight);
      this.sum += x * share;
      this.weight += share;
      if (this.weight >= this.step - 1e-9) {
        this.put(this.sum / this.step);
        this.weight = 1 - share;
        this.sum = x * this.weight;
      }
    }
    return true;
  }

  put(x) {
    this.piece[this.n++] = Math.max(-32768, Math.min(32767, Math.round(x * 32767)));
    if (this.n === PIECE) {
      this.port.postMessage(this.piece.slice());
      this.n = 0;
    }
  }
}

registerProcessor("hear", Hear);
