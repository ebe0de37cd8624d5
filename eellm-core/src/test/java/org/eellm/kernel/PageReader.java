package org.eellm.kernel;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import org.eellm.kernel.vector.NativeNumbers;

/** Reads what was written into a page. */
public final class PageReader {
  private PageReader() {}

  /** A position's key. */
  public static void readKey(PageLayout layout, long page, int offset, float[] out) {
    int together = layout.format().inputsTogether();
    for (int i = 0; i < layout.width(); i++) {
      long at = page + 4L * (i / together * PageLayout.POSITIONS + offset);
      out[i] = number(layout, at, i % together, page + layout.scalesAt() + 4L * offset);
    }
  }

  /** A position's value. */
  public static void readValue(PageLayout layout, long page, int offset, float[] out) {
    int of = offset % layout.format().inputsTogether();
    long scale = page + layout.scalesAt() + 4L * (PageLayout.POSITIONS + offset);
    for (int i = 0; i < layout.width(); i++) {
      out[i] = number(layout, layout.valueOf(page, offset) + 4L * i, of, scale);
    }
  }

  /** One of a group of numbers. */
  private static float number(PageLayout layout, long group, int of, long scale) {
    return switch (layout.format()) {
      case FLOAT32 -> NativeNumbers.getFloat(group);
      case BFLOAT16 -> NativeNumbers.get(group + 2L * of);
      case INT8 -> MEMORY.get(JAVA_BYTE, group + of) * NativeNumbers.getFloat(scale);
      case INT4 -> throw new IllegalStateException();
    };
  }
}
