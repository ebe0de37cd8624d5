package org.eellm.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eellm.kernel.PagedAttention;
import org.eellm.kernel.machine.CpuCache;
import org.eellm.kernel.matmul.MatmulKernel;
import org.eellm.kernel.matmul.SumOrder;
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.CpuLevel;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.WeightFormat;

/**
 * The kernels with which this CPU decodes, and the machine's properties that matter to them.
 *
 * @param level of the processor that is used, by {@value CpuLevel#PROPERTY}
 * @param levelIsChosen whether the user chose it; else it is the machine's highest
 * @param levels those that this machine has
 * @param order in which products of bfloat16 add up, by {@value SumOrder#PROPERTY}
 * @param bfloat16 what multiplies with bfloat16 weights
 * @param float32 the same with float32 weights
 * @param int8 what multiplies with weights of 8 and 4 bits
 * @param attention what attends to keys and values
 * @param rowCode whether norms and activations are machine code
 * @param vectorBits of what they take at once
 * @param lastCacheBytes of the processor's last cache
 * @param hugePages when the system gives huge pages: always, madvise (on request) or never; empty
 *     where it does not tell
 */
record DecodingKernels(
    String level,
    boolean levelIsChosen,
    List<String> levels,
    SumOrder order,
    String bfloat16,
    String float32,
    String int8,
    String attention,
    boolean rowCode,
    int vectorBits,
    long lastCacheBytes,
    Optional<String> hugePages) {
  private static final Path HUGE_PAGES = Path.of("/sys/kernel/mm/transparent_hugepage/enabled");
  private static final Pattern CHOSEN = Pattern.compile("\\[(\\w+)]");

  /** Looks for them. */
  static DecodingKernels find() throws IOException {
    return new DecodingKernels(
        CpuLevel.chosen().text(),
        System.getProperty(CpuLevel.PROPERTY) != null,
        CpuLevel.available().stream().map(CpuLevel::text).toList(),
        SumOrder.chosen(),
        MatmulKernel.fastest(WeightFormat.BFLOAT16).text(),
        MatmulKernel.fastest(WeightFormat.FLOAT32).text(),
        MatmulKernel.fastest(WeightFormat.INT8).text(),
        PagedAttention.text(),
        RowKernel.isMachineCode(),
        NativeNumbers.BYTES * Byte.SIZE,
        CpuCache.bytes(),
        Files.isReadable(HUGE_PAGES) ? chosen(Files.readString(HUGE_PAGES)) : Optional.empty());
  }

  /** The word in brackets, as in {@code always [madvise] never}. */
  static Optional<String> chosen(String words) {
    Matcher matcher = CHOSEN.matcher(words);
    return matcher.find() ? Optional.of(matcher.group(1)) : Optional.empty();
  }

  /** The kernels and the memory in words, line by line. */
  List<String> lines() {
    return List.of(
        "processor level: %s, %s; EELLM_JAVA_OPTS=-D%s= takes one of %s"
            .formatted(
                level,
                levelIsChosen
                    ? "since %s says so".formatted(CpuLevel.PROPERTY)
                    : "the highest of this machine",
                CpuLevel.PROPERTY,
                String.join(", ", levels)),
        "bfloat16 products: " + bfloat16,
        "products of 8 and 4 bits: " + int8,
        "attention: " + attention,
        "norms, activations: " + (rowCode ? "machine code, %d bits".formatted(vectorBits) : "Java"),
        "float32 products: " + float32,
        sums(),
        memory());
  }

  private String sums() {
    String other = order == SumOrder.CHAIN ? SumOrder.TILES.text() : SumOrder.CHAIN.text();
    return "bfloat16 sums: in the order of %s; EELLM_JAVA_OPTS=-D%s=%s takes the other"
        .formatted(order == SumOrder.CHAIN ? "a chain" : "tiles", SumOrder.PROPERTY, other);
  }

  private String memory() {
    String pages =
        switch (hugePages.orElse("")) {
          case "always", "madvise" -> "huge pages for weights";
          case "never" -> "no huge pages, which slows reading weights";
          default -> "huge pages unknown";
        };
    return "last cache %d KiB, %s".formatted(lastCacheBytes >> 10, pages);
  }
}
