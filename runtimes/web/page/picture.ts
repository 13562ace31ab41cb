/** What the page draws: a photo, masks over it, a box that is being dragged, and the keyboard's mark. */

import type { Mask } from "../src/index.js";

const COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000"] as const;

/** The colour of the k-th mask. */
export function colour(k: number): string {
  return COLOURS[k % COLOURS.length]!;
}

export class Picture {
  private readonly layers = new WeakMap<Mask, { colour: string; at: [number, number]; canvas: OffscreenCanvas }>(); // as they were drawn last

  constructor(readonly canvas: HTMLCanvasElement) {}

  /** Draw the photo, masks over it, and what a person is about to ask. */
  draw(photo: ImageBitmap, masks: readonly Mask[], hover: Mask | null, box: readonly number[] | null, mark: readonly number[] | null): void {
    if (this.canvas.width !== photo.width || this.canvas.height !== photo.height) {
      [this.canvas.width, this.canvas.height] = [photo.width, photo.height];
    }
    const context = this.canvas.getContext("2d")!;
    context.drawImage(photo, 0, 0);
    masks.forEach((mask, k) => this.tint(context, mask, colour(k), 130));
    if (hover) this.tint(context, hover, "#ffffff", 90);
    context.lineWidth = Math.max(photo.width / 300, 2);
    context.strokeStyle = "#ffcc00";
    if (box) context.strokeRect(box[0]!, box[1]!, box[2]! - box[0]!, box[3]! - box[1]!);
    if (mark) {
      const [x, y] = mark as [number, number];
      const arm = photo.width / 40;
      context.beginPath();
      context.moveTo(x - arm, y);
      context.lineTo(x + arm, y);
      context.moveTo(x, y - arm);
      context.lineTo(x, y + arm);
      context.stroke();
    }
  }

  private tint(context: CanvasRenderingContext2D, mask: Mask, colour: string, alpha: number): void {
    if (!mask.area) return;
    let layer = this.layers.get(mask);
    if (layer?.colour !== colour) {
      const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) as [number, number, number];
      const [x, y] = mask.box;
      layer = { colour, at: [x, y], canvas: painted(mask, (pixel) => pixel.set([red, green, blue, alpha])) };
      this.layers.set(mask, layer);
    }
    context.drawImage(layer.canvas, ...layer.at);
  }

  /** Where a pointer is, in pixels of the photo. */
  at(event: PointerEvent): [number, number] {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const within = (value: number, most: number): number => Math.min(Math.max(value, 0), most);
    const x = ((event.clientX - left) / width) * this.canvas.width;
    const y = ((event.clientY - top) / height) * this.canvas.height;
    return [within(x, this.canvas.width), within(y, this.canvas.height)];
  }
}

/** A mask's box as a picture, whose pixels inside the mask are painted, and the others left clear. */
function painted(mask: Mask, paint: (pixel: Uint8ClampedArray) => void): OffscreenCanvas {
  const [x0, y0, x1, y1] = mask.box;
  const { height, data } = mask.bits;
  const image = new ImageData(x1 - x0, y1 - y0);
  for (let x = x0; x < x1; x++) {
    for (let y = y0; y < y1; y++) {
      const at = 4 * ((y - y0) * (x1 - x0) + x - x0);
      if (data[x * height + y]) paint(image.data.subarray(at, at + 4));
    }
  }
  const canvas = new OffscreenCanvas(x1 - x0, y1 - y0);
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  return canvas;
}

/** What is in the masks, cut out of a photo, as a PNG; transparent around it. */
export async function cutOut(photo: ImageBitmap, masks: readonly Mask[]): Promise<Blob> {
  const seen = masks.filter((mask) => mask.area > 0);
  const boxes = seen.map((mask) => mask.box);
  const [x0, y0] = [Math.min(...boxes.map((box) => box[0])), Math.min(...boxes.map((box) => box[1]))];
  const [x1, y1] = [Math.max(...boxes.map((box) => box[2])), Math.max(...boxes.map((box) => box[3]))];
  const canvas = new OffscreenCanvas(x1 - x0, y1 - y0);
  const context = canvas.getContext("2d")!;
  seen.forEach((mask, k) => context.drawImage(painted(mask, (pixel) => pixel.fill(255)), boxes[k]![0] - x0, boxes[k]![1] - y0));
  context.globalCompositeOperation = "source-in"; // of the photo, what the masks cover
  context.drawImage(photo, -x0, -y0);
  return canvas.convertToBlob({ type: "image/png" });
}

/** Masks in COCO's format, as one file. name: of the photo. */
export function coco(photo: ImageBitmap, masks: readonly Mask[], name: string): Blob {
  const names = [...new Set(masks.map((mask) => mask.label ?? "thing"))];
  const told = {
    images: [{ id: 1, file_name: name, height: photo.height, width: photo.width }],
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
