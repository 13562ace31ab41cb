/** What the page draws: a photo, masks over it, a box that is being dragged, and the keyboard's mark. */

import { decoded, type Mask } from "../src/index.js";

const COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000"] as const;
const MOST = 1600; // pixels of the canvas's longer side: a phone's photo has six times as many pixels as a person sees

/** The colour of the k-th mask. */
export function colour(k: number): string {
  return COLOURS[k % COLOURS.length]!;
}

/** A photo's bitmap, upright; of a JPEG that breaks off, as far as it goes. */
function bitmap(photo: Blob | ImageBitmap, how: ImageBitmapOptions): Promise<ImageBitmap> {
  const upright = { imageOrientation: "from-image", ...how } as const;
  return createImageBitmap(photo, upright).catch(async () => createImageBitmap(await decoded(photo as Blob), how));
}

/** A photo as large as it is drawn. height, width: of the photo. */
export function preview(photo: Blob | ImageBitmap, height: number, width: number): Promise<ImageBitmap> {
  const scale = Math.min(MOST / Math.max(height, width), 1);
  const size = { resizeWidth: Math.max(Math.round(width * scale), 1), resizeHeight: Math.max(Math.round(height * scale), 1) };
  return bitmap(photo, { resizeQuality: "high", ...size });
}

interface Layer {
  colour: string;
  at: [number, number];
  canvas: OffscreenCanvas;
}

export class Picture {
  private readonly layers = new WeakMap<Mask, Layer>(); // as they were drawn last

  constructor(readonly canvas: HTMLCanvasElement) {}

  /** Draw a photo, masks over it, and what a person is about to ask. drawn: its `preview`. width: of the photo. */
  draw(drawn: ImageBitmap, width: number, masks: readonly Mask[], hover: Mask | null, box: readonly number[] | null, mark: readonly number[] | null): void {
    if (this.canvas.width !== drawn.width || this.canvas.height !== drawn.height) {
      [this.canvas.width, this.canvas.height] = [drawn.width, drawn.height];
    }
    const scale = drawn.width / width;
    const context = this.canvas.getContext("2d")!;
    context.drawImage(drawn, 0, 0);
    masks.forEach((mask, k) => this.tint(context, mask, scale, colour(k), 130));
    if (hover) this.tint(context, hover, scale, "#ffffff", 90);
    context.lineWidth = Math.max(drawn.width / 300, 2);
    context.strokeStyle = "#ffcc00";
    if (box) context.strokeRect(box[0]! * scale, box[1]! * scale, (box[2]! - box[0]!) * scale, (box[3]! - box[1]!) * scale);
    if (mark) {
      const [x, y] = [mark[0]! * scale, mark[1]! * scale];
      const arm = drawn.width / 40;
      context.beginPath();
      context.moveTo(x - arm, y);
      context.lineTo(x + arm, y);
      context.moveTo(x, y - arm);
      context.lineTo(x, y + arm);
      context.stroke();
    }
  }

  private tint(context: CanvasRenderingContext2D, mask: Mask, scale: number, colour: string, alpha: number): void {
    if (!mask.area) return;
    let layer = this.layers.get(mask);
    if (layer?.colour !== colour) {
      const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) as [number, number, number];
      const { canvas, at } = painted(mask, scale, [red, green, blue, alpha]);
      layer = { colour, at, canvas };
      this.layers.set(mask, layer);
    }
    context.drawImage(layer.canvas, ...layer.at);
  }

  /** Where a pointer is, in pixels of the photo. */
  at(event: PointerEvent, height: number, width: number): [number, number] {
    const box = this.canvas.getBoundingClientRect();
    const within = (value: number, most: number): number => Math.min(Math.max(value, 0), most);
    return [within(((event.clientX - box.left) / box.width) * width, width), within(((event.clientY - box.top) / box.height) * height, height)];
  }
}

/** A mask's box as a picture, at a scale: its pixels in one colour (RGBA), the others clear. at: its top left corner. */
function painted(mask: Mask, scale: number, ink: readonly [number, number, number, number]): { canvas: OffscreenCanvas; at: [number, number] } {
  const { height, data } = mask.bits;
  const [x0, y0, x1, y1] = mask.box.map((each) => Math.round(each * scale)) as [number, number, number, number];
  const [wide, high] = [Math.max(x1 - x0, 1), Math.max(y1 - y0, 1)];
  const image = new ImageData(wide, high);
  const pixels = new Uint32Array(image.data.buffer);
  const [colour] = new Uint32Array(Uint8Array.from(ink).buffer);
  const last = data.length - 1;
  for (let x = 0; x < wide; x++) {
    const column = Math.floor((x0 + x + 0.5) / scale) * height;
    for (let y = 0; y < high; y++) {
      if (data[Math.min(column + Math.floor((y0 + y + 0.5) / scale), last)]) pixels[y * wide + x] = colour!;
    }
  }
  const canvas = new OffscreenCanvas(wide, high);
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  return { canvas, at: [x0, y0] };
}

/** What is in the masks, cut out of a photo, as a PNG; transparent around it. */
export async function cutOut(photo: Blob | ImageBitmap, masks: readonly Mask[]): Promise<Blob> {
  const seen = masks.filter((mask) => mask.area > 0).map((mask) => ({ mask, box: mask.box }));
  const [x0, y0] = [Math.min(...seen.map(({ box }) => box[0])), Math.min(...seen.map(({ box }) => box[1]))];
  const [x1, y1] = [Math.max(...seen.map(({ box }) => box[2])), Math.max(...seen.map(({ box }) => box[3]))];
  const canvas = new OffscreenCanvas(x1 - x0, y1 - y0);
  const context = canvas.getContext("2d")!;
  for (const { mask, box } of seen) context.drawImage(painted(mask, 1, [255, 255, 255, 255]).canvas, box[0] - x0, box[1] - y0);
  context.globalCompositeOperation = "source-in"; // of the photo, what the masks cover
  const whole = await bitmap(photo, {});
  context.drawImage(whole, -x0, -y0);
  whole.close();
  return canvas.convertToBlob({ type: "image/png" });
}

/** Masks in COCO's format, as one file. name: of the photo, whose height and width are given. */
export function coco(name: string, height: number, width: number, masks: readonly Mask[]): Blob {
  const names = [...new Set(masks.map((mask) => mask.label ?? "thing"))];
  const told = {
    images: [{ id: 1, file_name: name, height, width }],
    categories: names.map((each, k) => ({ id: k + 1, name: each })),
    annotations: masks.map((mask, k) => {
      const [x0, y0, x1, y1] = mask.box;
      const category_id = names.indexOf(mask.label ?? "thing") + 1;
      const about = { id: k + 1, image_id: 1, category_id, iscrowd: 0, area: mask.area, bbox: [x0, y0, x1 - x0, y1 - y0] };
      return { ...about, segmentation: mask.rle, score: mask.score, predicted_iou: mask.predictedIou };
    }),
  };
  return new Blob([JSON.stringify(told)], { type: "application/json" });
}
