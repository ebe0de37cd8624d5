package org.eellm.decode.engine;

import java.util.Arrays;
import java.util.Optional;
import org.eellm.kernel.WeightFormat;
import org.eellm.model.Weight;

/**
 * Rows of an embedding, read where the model keeps them.
 *
 * @param first id of the first row that this rank has
 * @param rows that this rank has
 * @param width of a row
 * @param scales of the rows, with int8
 */
record EmbeddingTable(
    WeightFormat format, long address, int first, int rows, int width, Optional<float[]> scales) {

  static EmbeddingTable of(Weight weight, int rank) {
    int rows = Math.toIntExact(weight.value().size(0));
    return new EmbeddingTable(
        WeightReader.format(weight.value()),
        weight.value().data_ptr().address(),
        rank * rows,
        rows,
        Math.toIntExact(weight.value().size(1)),
        weight.scales().map(WeightReader::floats));
  }

  /** A row as float32; zeros where another rank has it. */
  void read(int id, float[] to) {
    int row = id - first;
    if (row < 0 || row >= rows) {
      Arrays.fill(to, 0, width, 0);
      return;
    }
    float scale = scales.isPresent() ? scales.get()[row] : 1;
    WeightReader.read(format, address + (long) row * width * format.bytes(), scale, to, width);
  }
}
