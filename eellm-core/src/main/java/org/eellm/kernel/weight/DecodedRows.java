package org.eellm.kernel.weight;

import java.util.Optional;

/**
 * Rows of a matrix that a file has in groups with scales.
 *
 * @param source the whole matrix
 */
public record DecodedRows(Source source, int firstRow, int rows, int firstColumn, int columns)
    implements WeightRows {

  /** Makes numbers of what a file has. Threads may read at once. */
  public interface Source {
    int rows();

    int columns();

    void read(int row, float[] to);

    /** How groups lie that can be taken as they are. */
    Optional<GroupLayout> layout();

    /** Reads a row's groups; only where they have a layout. */
    void readGroups(int row, byte[] to);
  }

  public static DecodedRows of(Source source) {
    return new DecodedRows(source, 0, source.rows(), 0, source.columns());
  }

  @Override
  public DecodedRows rows(int first, int count) {
    return new DecodedRows(source, firstRow + first, count, firstColumn, columns);
  }

  @Override
  public DecodedRows columns(int first, int count) {
    return new DecodedRows(source, firstRow, rows, firstColumn + first, count);
  }

  /** How the groups lie that these rows consist of; empty where columns cut through one. */
  public Optional<GroupLayout> layout() {
    boolean whole = firstColumn % GroupLayout.GROUP == 0 && columns % GroupLayout.GROUP == 0;
    return whole ? source.layout() : Optional.empty();
  }

  /** Reads all of a row's groups, those of columns that are not chosen, too. */
  void readGroups(int row, byte[] to) {
    source.readGroups(firstRow + row, to);
  }

  int firstGroup() {
    return firstColumn / GroupLayout.GROUP;
  }

  @Override
  public void read(int row, float[] to, int at) {
    float[] whole = new float[source.columns()];
    source.read(firstRow + row, whole);
    System.arraycopy(whole, firstColumn, to, at, columns);
  }
}
