/** What the page draws: a photo, masks over it, a box that is being dragged, and the keyboard's mark. */

import type { Mask, Pixels } from "../src/index.js";

const COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000"] as const;

/** The colour of the k-th mask. */
export function colour(k: number): string {
  return COLOURS[k % COLOURS.length]!;
}

export class Picture {
  private photo: ImageBitmap | null = null;

  constructor(readonly canvas: HTMLCanvasElement) {}

  show(photo: ImageBitmap): void {
    this.photo?.close();
    this.photo = photo;
    [this.canvas.width, this.canvas.height] = [photo.width, photo.height];
  }

  /** Draw the photo, masks over it, and what a person is about to ask. */
  draw(masks: readonly Mask[], hover: Mask | null, box: readonly [number, number, number, number] | null, mark: readonly [number, number] | null): void {
    const context = this.canvas.getContext("2d")!;
    context.drawImage(this.photo!, 0, 0);
    masks.forEach((mask, k) => this.tint(context, mask, colour(k), 130));
    if (hover) this.tint(context, hover, "#ffffff", 90);
    context.lineWidth = Math.max(this.canvas.width / 300, 2);
    context.strokeStyle = "#ffcc00";
    if (box) context.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    if (mark) {
      const [x, y] = mark;
      const arm = this.canvas.width / 40;
      context.beginPath();
      context.moveTo(x - arm, y);
      context.lineTo(x + arm, y);
      context.moveTo(x, y - arm);
      context.lineTo(x, y + arm);
      context.stroke();
    }
  }

  private tint(context: CanvasRenderingContext2D, mask: Mask, colour: string, alpha: number): void {
    const { height, width, data } = mask.bits;
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) as [number, number, number];
    const layer = new ImageData(width, height);
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) {
        if (data[x * height + y]) layer.data.set([red, green, blue, alpha], (y * width + x) * 4);
      }
    }
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d")!.putImageData(layer, 0, 0);
    context.drawImage(canvas, 0, 0);
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

/** What is in the masks, cut out of a photo, as a PNG; transparent around it. */
export async function cutOut(pixels: Pixels, masks: readonly Mask[]): Promise<Blob> {
  const { height, width } = pixels;
  const image = new ImageData(width, height);
  for (const { data } of masks.map((mask) => mask.bits)) {
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) {
        const at = y * width + x;
        if (data[x * height + y]) image.data.set([pixels.data[3 * at]!, pixels.data[3 * at + 1]!, pixels.data[3 * at + 2]!, 255], 4 * at);
      }
    }
  }
  const boxes = masks.map((mask) => mask.box).filter(([x0, , x1]) => x1 > x0);
  const [x0, y0] = [Math.min(...boxes.map((box) => box[0])), Math.min(...boxes.map((box) => box[1]))];
  const [x1, y1] = [Math.max(...boxes.map((box) => box[2])), Math.max(...boxes.map((box) => box[3]))];
  const canvas = new OffscreenCanvas(x1 - x0, y1 - y0);
  canvas.getContext("2d")!.putImageData(image, -x0, -y0);
  return canvas.convertToBlob({ type: "image/png" });
}

/** Masks in COCO's format, as one file. name: of the photo. */
export function coco(pixels: Pixels, masks: readonly Mask[], name: string): Blob {
  const names = [...new Set(masks.map((mask) => mask.label ?? "thing"))];
  const told = {
    images: [{ id: 1, file_name: name, height: pixels.height, width: pixels.width }],
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
