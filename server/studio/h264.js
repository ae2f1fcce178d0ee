// Pictures as H.264 access units (Annex B) and back, where the browser can do it; a fifth of the bytes of JPEG.

const ENCODES = "avc1.42E01F", DECODES = "avc1.42E033"; // baseline up to 720p of what is sent, any size of what comes
const BITRATE = 2_500_000;
const KEY = 5; // type of a NAL unit: an independent picture's slice

// Whether this browser encodes and decodes what the server does.
export async function isAble() {
  try {
    const [encodes, decodes] = await Promise.all([
      VideoEncoder.isConfigSupported(encoding(640, 480)), VideoDecoder.isConfigSupported({ codec: DECODES }),
    ]);
    return encodes.supported && decodes.supported;
  } catch {
    return false; // no WebCodecs at all, as without https
  }
}

const encoding = (width, height) => ({
  codec: ENCODES, width, height, bitrate: BITRATE, framerate: 30, latencyMode: "realtime", avc: { format: "annexb" },
});

// Calls `each(timeUs, unit)` for every picture put in. `failed()` where the encoder gives up.
export class Encoder {
  constructor(each, failed) {
    this.isKeyWanted = true;
    this.encoder = new VideoEncoder({
      output: (chunk) => {
        const unit = new Uint8Array(chunk.byteLength);
        chunk.copyTo(unit);
        each(chunk.timestamp, unit);
      },
      error: failed,
    });
  }

  get isOpen() { return this.encoder.state !== "closed"; }

  // `canvas` is what is to be seen; its sides are even.
  put(canvas, timeUs) {
    if (this.width !== canvas.width || this.height !== canvas.height) {
      Object.assign(this, { width: canvas.width, height: canvas.height });
      this.encoder.configure(encoding(this.width, this.height));
      this.isKeyWanted = true;
    }
    const frame = new VideoFrame(canvas, { timestamp: timeUs });
    this.encoder.encode(frame, { keyFrame: this.isKeyWanted });
    this.isKeyWanted = false;
    frame.close();
  }

  close() { if (this.isOpen) this.encoder.close(); }
}

function isKey(unit) {
  for (let i = 0; i + 3 < unit.length; i += 1) {
    if (unit[i] === 0 && unit[i + 1] === 0 && unit[i + 2] === 1) {
      const kind = unit[i + 3] & 31;
      if (kind === KEY) return true;
      if (kind === 1) return false;
    }
  }
  return false;
}

// Calls `each(timeUs, frame)` for every unit put in, and closes the frame; `lost()` where a key frame is needed to go on.
export class Decoder {
  constructor(each, lost) {
    Object.assign(this, { each, lost });
    this.begin();
  }

  begin() {
    this.isWaiting = true;
    this.decoder = new VideoDecoder({
      output: (frame) => {
        this.each(frame.timestamp, frame);
        frame.close();
      },
      error: () => {
        this.begin();
        this.lost();
      },
    });
    this.decoder.configure({ codec: DECODES, optimizeForLatency: true });
  }

  put(timeUs, unit) {
    const key = isKey(unit);
    if (this.isWaiting && !key) return;
    this.isWaiting = false;
    this.decoder.decode(new EncodedVideoChunk({ type: key ? "key" : "delta", timestamp: timeUs, data: unit }));
  }

  close() { if (this.decoder.state !== "closed") this.decoder.close(); }
}
