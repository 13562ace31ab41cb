/** The camera: shown while it is open, until a photo is taken or it is closed. */
export class Camera {
  private stream: MediaStream | null = null;

  constructor(private readonly video: HTMLVideoElement) {}

  get open(): boolean {
    return this.stream !== null;
  }

  /** Show what the camera sees. Throws where there is none, or where the person says no. */
  async start(): Promise<void> {
    if (!navigator.mediaDevices) throw new Error("the camera: this page is not secure; open it by https, or from localhost");
    this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).catch((error: Error) => {
      throw new Error(`the camera: ${error.message || error.name}; allow it, or choose a photo`);
    });
    this.video.srcObject = this.stream;
    await this.video.play();
  }

  /** What it sees now; then it is closed. */
  async take(): Promise<ImageBitmap> {
    const photo = await createImageBitmap(this.video);
    this.stop();
    return photo;
  }

  stop(): void {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
  }
}
