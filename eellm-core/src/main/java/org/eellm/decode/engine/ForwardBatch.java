package org.eellm.decode.engine;

import java.util.Arrays;

/**
 * Rows that go through layers as one block: of some sequences, one after the other, the hidden
 * states of consecutive positions. Made once and filled anew for every pass.
 */
public final class ForwardBatch {
  private int rows;
  private int[] slots = new int[64];
  private int[] positions = new int[64];
  private int ranges;
  private int[] starts = new int[9]; // by range, and the end of the last
  private int[][] pages = new int[8][];
  private int[] adapters = new int[8];

  public void clear() {
    rows = 0;
    ranges = 0;
  }

  /**
   * Begins the rows of a sequence that takes the model as it is.
   *
   * @param ofSequence the pages of its keys and values, in order of positions
   */
  public void begin(int[] ofSequence) {
    begin(ofSequence, 0);
  }

  /**
   * Begins the rows of a sequence.
   *
   * @param ofSequence the pages of its keys and values, in order of positions
   * @param adapter of the model's ({@link org.eellm.model.DecodingModel#adapters}), from 1; 0 for
   *     none
   */
  public void begin(int[] ofSequence, int adapter) {
    if (ranges == pages.length) {
      pages = Arrays.copyOf(pages, 2 * ranges);
      adapters = Arrays.copyOf(adapters, 2 * ranges);
      starts = Arrays.copyOf(starts, 2 * ranges + 1);
    }
    pages[ranges] = ofSequence;
    adapters[ranges] = adapter;
    ranges++;
    starts[ranges] = rows;
  }

  /**
   * Adds a row to the last sequence begun.
   *
   * @param slot where its hidden state lies ({@link ModelRunner#allocateSlot})
   * @param position one more than that of the sequence's row before it
   */
  public void add(int slot, int position) {
    if (rows == slots.length) {
      slots = Arrays.copyOf(slots, 2 * rows);
      positions = Arrays.copyOf(positions, 2 * rows);
    }
    slots[rows] = slot;
    positions[rows] = position;
    rows++;
    starts[ranges] = rows;
  }

  public int rows() {
    return rows;
  }

  /** Where a row's hidden state lies. */
  public int slot(int row) {
    return slots[row];
  }

  public int position(int row) {
    return positions[row];
  }

  public int ranges() {
    return ranges;
  }

  /** The first row of a sequence. */
  public int start(int range) {
    return starts[range];
  }

  /** The row after the last of a sequence. */
  public int end(int range) {
    return starts[range + 1];
  }

  /** The pages of a sequence's keys and values. */
  public int[] pages(int range) {
    return pages[range];
  }

  /** The number of a sequence's adapter, from 1; 0 for none. */
  public int adapter(int range) {
    return adapters[range];
  }
}
