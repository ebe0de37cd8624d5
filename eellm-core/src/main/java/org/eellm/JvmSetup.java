package org.eellm;

import com.sun.management.HotSpotDiagnosticMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.eellm.config.ConfigException;
import org.eellm.decode.engine.cpu.KernelProperties;
import org.eellm.kernel.machine.GlibcMalloc;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.CpuLevel;
import org.eellm.kernel.vector.NativeNumbers;
import org.jspecify.annotations.Nullable;

/**
 * The setup that eellm needs of its Java process. The program {@code eellm} has a launcher that
 * sees to it; a library has none. So {@link EarlyExitModel} and {@link TrainingRun} call what is
 * here themselves; call it earlier to learn of a problem before anything else happens.
 */
public final class JvmSetup {
  private static final int FULL_COMPILER = 4; // its level
  private static final String LIBTORCH = "org.bytedeco.pytorch.global.torch";
  private static final String LOGGING = "org.slf4j.LoggerFactory";
  private static final String MKL = "org.bytedeco.mkl.global.mkl_rt";
  private static final Path HUGE_PAGES = Path.of("/sys/kernel/mm/transparent_hugepage/enabled");

  private JvmSetup() {}

  /**
   * Checks what decoding needs.
   *
   * @throws SetupException that names the option of Java that is missing or wrong
   * @throws ConfigException that names the property of kernels that is wrong
   */
  public static void requireDecoding() {
    Module own = JvmSetup.class.getModule();
    if (!own.isNativeAccessEnabled()) { // first: what comes next uses it
      throw new SetupException(
          "Java does not let eellm use native memory; start it with --enable-native-access="
              + (own.isNamed() ? own.getName() : "ALL-UNNAMED"));
    }
    if (!isOnClassPath(LOGGING)) { // of all that it needs the first that is a module of its own
      throw new SetupException(
          "Java has left out modules that eellm needs; start it with --add-modules"
              + " ALL-MODULE-PATH");
    }
    KernelProperties.check();
    if (!NativeNumbers.HAS_VECTORS
        && !RowKernel.isMachineCode()
        && CpuLevel.chosen() != CpuLevel.SCALAR) {
      throw withoutVectors();
    }
    if (!RowKernel.isMachineCode() && hasQuickCompilerAlone()) {
      throw new SetupException(
          "Java runs without its second compiler, and eellm without machine code, which is a"
              + " hundred times slower; start Java with -XX:TieredStopAtLevel=4, by"
              + " EELLM_JAVA_OPTS if it is the program eellm");
    }
  }

  /**
   * Checks what training, and GPUs, need, and sets what can be set: the library of matrix products
   * (MKL where it is on the class path), no limits of JavaCPP's on native memory, and an allocator
   * that keeps its memory. What the user has set stays. Call it before anything uses JavaCPP.
   *
   * @throws SetupException that names the option or the artifact that is missing
   */
  public static void requireTraining() {
    requireDecoding();
    if (!NativeNumbers.HAS_VECTORS) {
      throw withoutVectors();
    }
    if (!hasLibtorch()) {
      throw libtorchIsMissing(null);
    }
    setUnlessSet("org.bytedeco.javacpp.maxphysicalbytes", "0");
    setUnlessSet("org.bytedeco.javacpp.maxbytes", "0");
    if (isOnClassPath(MKL)) {
      setUnlessSet("org.bytedeco.openblas.load", "mkl_rt");
    }
    GlibcMalloc.keepMemory();
  }

  private static SetupException withoutVectors() {
    return new SetupException(
        "Java runs without its vector instructions, which eellm computes with; start it with"
            + " --add-modules "
            + NativeNumbers.VECTOR_MODULE
            + ", by EELLM_JAVA_OPTS if it is the program eellm");
  }

  /** Whether libtorch is on the class path, without which nothing trains and no GPU computes. */
  public static boolean hasLibtorch() {
    return isOnClassPath(LIBTORCH);
  }

  /** Whether Java has its quick compiler alone; takes a while. */
  private static boolean hasQuickCompilerAlone() {
    return ManagementFactory.getPlatformMXBeans(HotSpotDiagnosticMXBean.class).stream()
        .map(machine -> machine.getVMOption("TieredStopAtLevel").getValue())
        .anyMatch(level -> Integer.parseInt(level) < FULL_COMPILER);
  }

  static SetupException libtorchIsMissing(@Nullable Throwable cause) {
    String message =
        "this needs libtorch, which is not on the class path for this platform; add the artifact"
            + " org.eellm:eellm-libtorch";
    return cause == null ? new SetupException(message) : new SetupException(message, cause);
  }

  /**
   * Settings that slow training down and that no code can change: a line each; none for a program
   * without libtorch, which trains nothing.
   */
  public static List<String> problems() {
    List<String> problems = new ArrayList<>();
    if (!hasLibtorch()) {
      return problems;
    }
    String tunables = System.getenv("GLIBC_TUNABLES");
    if (Files.exists(HUGE_PAGES) && (tunables == null || !tunables.contains("hugetlb"))) {
      problems.add(
          "tensors do not lie on huge pages; set the environment variable"
              + " GLIBC_TUNABLES=glibc.malloc.hugetlb=1");
    }
    String blas = System.getProperty("org.bytedeco.openblas.load", "");
    if (System.getProperty("os.arch").equals("amd64")
        && !blas.equals("mkl_rt")
        && !isOnClassPath(MKL)) {
      problems.add(
          "OpenBLAS runs the matrix products, three times slower than MKL; add the artifact"
              + " org.eellm:eellm-libtorch, which brings MKL");
    }
    return problems;
  }

  private static void setUnlessSet(String property, String value) {
    if (System.getProperty(property) == null) {
      System.setProperty(property, value);
    }
  }

  private static boolean isOnClassPath(String name) {
    try {
      Class.forName(name, false, JvmSetup.class.getClassLoader());
      return true;
    } catch (ClassNotFoundException | LinkageError e) {
      return false;
    }
  }
}
