package edge.samclip;

import android.content.res.AssetFileDescriptor;
import android.content.res.AssetManager;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/** A bundle in an app's assets, which are mapped where they lie in the package. Not compiled on a desktop. */
public final class AndroidAssets {
    private AndroidAssets() {}

    /** Open the bundle in a folder of the assets. They must be uncompressed (`noCompress`), else IOException. */
    public static SamClip load(AssetManager assets, String folder, Options options) throws IOException {
        List<AssetFileDescriptor> open = new ArrayList<>();
        try {
            List<BundleFile> files = new ArrayList<>();
            for (String name : assets.list(folder)) {
                if (assets.list(folder + "/" + name).length > 0) {
                    continue; // a folder, such as the test vectors, which nothing reads here
                }
                AssetFileDescriptor file = assets.openFd(folder + "/" + name);
                open.add(file);
                int descriptor = file.getParcelFileDescriptor().getFd();
                files.add(new BundleFile(name, descriptor, file.getStartOffset(), file.getDeclaredLength()));
            }
            return SamClip.load(files, options);
        } finally {
            for (AssetFileDescriptor file : open) {
                file.close();
            }
        }
    }
}
