// An AAR of libsamclip_edge.so, its Java classes, and its headers for apps in C++ (Prefab). See docs/android.md.
plugins {
    id("com.android.library") version "8.13.2"
    `maven-publish`
}

group = "edge.samclip"
version = "0.1.0"

val onnxRuntime = "com.microsoft.onnxruntime:onnxruntime-android:1.23.2"

// ONNX Runtime's AAR has no Prefab package: its headers/ and jni/<abi>/ are unpacked for CMake.
val onnxRuntimeAar: Configuration by configurations.creating {
    isCanBeConsumed = false
    isTransitive = false
}
val onnxRuntimeRoot = layout.buildDirectory.dir("onnxruntime")
val unpackOnnxRuntime by tasks.registering(Sync::class) {
    from({ zipTree(onnxRuntimeAar.singleFile) }) {
        include("headers/**", "jni/**")
    }
    into(onnxRuntimeRoot)
}

dependencies {
    onnxRuntimeAar("$onnxRuntime@aar")
    implementation(onnxRuntime)
    compileOnly("androidx.camera:camera-core:1.4.2")
}

android {
    namespace = "edge.samclip"
    compileSdk = 36

    defaultConfig {
        minSdk = 24
        consumerProguardFiles("consumer-rules.pro")
        ndk {
            abiFilters += listOf("arm64-v8a", "x86_64")
        }
        externalNativeBuild {
            cmake {
                // Prefab takes no shared library with a static C++ library in it.
                arguments += "-DANDROID_STL=c++_shared"
                arguments += "-DANDROID_SUPPORT_FLEXIBLE_PAGE_SIZES=ON"
                arguments += "-DSAMCLIP_EDGE_FETCH=ON"
                arguments += "-DONNXRUNTIME_ROOT=${onnxRuntimeRoot.get().asFile}"
                targets += listOf("samclip_edge", "samclip_edge_jni")
            }
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }

    externalNativeBuild {
        cmake {
            path = file("src/main/cpp/CMakeLists.txt")
            version = "3.22.1"
        }
    }

    buildFeatures {
        prefabPublishing = true
    }
    prefab {
        create("samclip_edge") {
            headers = "../native/include"
        }
    }

    // The app gets this one from ONNX Runtime's own AAR; two of it would not merge.
    packaging {
        jniLibs {
            excludes += "**/libonnxruntime.so"
        }
    }

    publishing {
        singleVariant("release") {
            withSourcesJar()
        }
    }
}

tasks.matching { it.name.startsWith("configureCMake") }.configureEach {
    dependsOn(unpackOnnxRuntime)
}

publishing {
    publications {
        register<MavenPublication>("release") {
            artifactId = "samclip-edge"
            afterEvaluate {
                from(components["release"])
            }
        }
    }
}
