package edge.samclip;

import android.graphics.Bitmap;
import android.graphics.ImageFormat;
import android.graphics.PixelFormat;
import androidx.camera.core.ImageProxy;
import java.nio.ByteBuffer;

/** Android's own pictures as `Image`. Not compiled on a desktop. */
public final class AndroidImages {
    private AndroidImages() {}

    /** A copy of a bitmap, upright as it is. Alpha is dropped; Android keeps colours multiplied by it. */
    public static Image of(Bitmap bitmap) {
        boolean ready = bitmap.getConfig() == Bitmap.Config.ARGB_8888; // R G B A in memory
        Bitmap read = ready ? bitmap : bitmap.copy(Bitmap.Config.ARGB_8888, false);
        ByteBuffer pixels = ByteBuffer.allocateDirect(read.getByteCount());
        read.copyPixelsToBuffer(pixels);
        pixels.rewind();
        Image.Plane rows = new Image.Plane(pixels, read.getRowBytes(), 0);
        return Image.planes(Image.Format.RGBA, read.getWidth(), read.getHeight(), rows);
    }

    /**
     * A frame of CameraX's ImageAnalysis, of either output format, turned upright. Nothing is copied: close the frame
     * after `look`. All of it is taken, whatever `getCropRect` says. Of a front camera, `mirrored()` is as the preview
     * shows it. Throws SamClipException for another format.
     */
    public static Image of(ImageProxy frame) {
        boolean yuv = frame.getFormat() == ImageFormat.YUV_420_888;
        if (!yuv && frame.getFormat() != PixelFormat.RGBA_8888) {
            throw new SamClipException("photo: format " + frame.getFormat() + "; choose YUV_420_888 or RGBA_8888");
        }
        ImageProxy.PlaneProxy[] from = frame.getPlanes();
        Image.Plane[] planes = new Image.Plane[from.length];
        for (int k = 0; k < planes.length; k++) {
            int pixelStride = yuv ? from[k].getPixelStride() : 0;
            planes[k] = new Image.Plane(from[k].getBuffer(), from[k].getRowStride(), pixelStride);
        }
        Image.Format format = yuv ? Image.Format.PLANES : Image.Format.RGBA;
        Image image = Image.planes(format, frame.getWidth(), frame.getHeight(), planes);
        return image.fullRange().turned(frame.getImageInfo().getRotationDegrees()); // cameras give BT.601, full range
    }
}
