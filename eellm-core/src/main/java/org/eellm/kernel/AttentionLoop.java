package org.eellm.kernel;

import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.R10;
import static org.eellm.kernel.machine.MachineCode.R11;
import static org.eellm.kernel.machine.MachineCode.R12;
import static org.eellm.kernel.machine.MachineCode.R13;
import static org.eellm.kernel.machine.MachineCode.R14;
import static org.eellm.kernel.machine.MachineCode.R15;
import static org.eellm.kernel.machine.MachineCode.R8;
import static org.eellm.kernel.machine.MachineCode.R9;
import static org.eellm.kernel.machine.MachineCode.RAX;
import static org.eellm.kernel.machine.MachineCode.RBP;
import static org.eellm.kernel.machine.MachineCode.RBX;
import static org.eellm.kernel.machine.MachineCode.RCX;
import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.RDX;
import static org.eellm.kernel.machine.MachineCode.RSI;
import static org.eellm.kernel.machine.MachineCode.VECTOR_BYTES;

import org.eellm.kernel.machine.ControlCode;
import org.eellm.kernel.machine.ControlCode.Condition;
import org.eellm.kernel.machine.MachineCode;
import org.eellm.kernel.machine.MachineCode.Operation;

/**
 * Machine code that goes through the positions of a sequence, a group at a time, and calls the
 * functions of {@link AttentionCode}: {@code f(pages, limits, fields, end, first, pageBytes)}. As a
 * loop in Java it is some ten calls a page, and the JVM's compiler works on it for a tenth of a
 * second while the first tokens come.
 *
 * <p>{@code pages} and {@code limits} are addresses of ints, and {@code fields} of what {@link
 * Field} names. {@code end} is the last row's limit; {@code first} and {@code pageBytes} tell where
 * pages are.
 */
final class AttentionLoop {
  private static final int GROUP = PagedAttention.GROUP;
  private static final int PAGES = PagedAttention.PAGES;
  private static final int PAGE_BITS = Integer.numberOfTrailingZeros(PageLayout.POSITIONS);
  private static final int ROW_BITS = Integer.numberOfTrailingZeros(4 * GROUP); // of scores
  private static final int TOTAL_BITS = Integer.numberOfTrailingZeros(VECTOR_BYTES);

  // General registers that functions leave alone.
  private static final int FIELDS = RBX;
  private static final int TABLE = RBP; // the pages' numbers
  private static final int POSITION = R12;
  private static final int LAST = R13; // page
  private static final int ROW = R14;
  private static final int PAGE = R14; // while there are no rows
  private static final int MAX = R15;
  private static final int VALUES = R15;

  // Places of the stack.
  private static final int SEVENTH = 0;
  private static final int EIGHTH = 1;
  private static final int FACTOR = 2;
  private static final int NEXT = 3;
  private static final int STEPS = 4;

  /** What lies in memory for the loop, 8 bytes each. */
  enum Field {
    COUNT, // of rows
    QUERIES, // addresses
    SCORES,
    WEIGHTS,
    TOTALS,
    SUMS,
    KEY_SCALES,
    VALUE_SCALES,
    REPLACED, // a page that stands elsewhere; -1 for none
    REPLACEMENT, // its address
    PRODUCTS, // functions for so many rows
    HALF_PRODUCTS,
    FIRST_MIXTURES,
    MIXTURES,
    LARGEST, // functions for one row
    EXPONENTIALS,
    SCALE,
    FACTOR,
    END, // written by the loop itself: its parameters
    FIRST,
    PAGE_BYTES,
    LIMITS,
    MAXIMA; // of rows so far, float32; a vector of them

    int offset() {
      return Long.BYTES * ordinal();
    }

    /** Bytes of all. */
    static long bytes() {
      return MAXIMA.offset() + VECTOR_BYTES;
    }
  }

  private final PageLayout layout;
  private final int sumBytes;
  private final int callBytes; // of values that a mixture takes
  private final MachineCode code = new MachineCode();
  private final ControlCode control = new ControlCode(code);

  private AttentionLoop(PageLayout layout, int callBytes) {
    this.layout = layout;
    this.callBytes = callBytes;
    sumBytes = 4 * layout.valueWidth();
  }

  /**
   * The function.
   *
   * @param callBytes of a position's values that a mixture takes at once
   */
  static byte[] of(PageLayout layout, int callBytes) {
    AttentionLoop loop = new AttentionLoop(layout, callBytes);
    loop.write();
    return loop.code.toByteArray();
  }

  private void write() {
    control.begin();
    begin();
    int group = code.position();
    code.move(PAGE, POSITION);
    control.shiftRight(PAGE, PAGE_BITS);
    score();
    if (layout.hasScales()) {
      for (int i = 0; i < PAGES; i++) {
        readScales(i);
      }
    }
    weighRows();
    mix();
    code.advance(POSITION, GROUP);
    load(RAX, Field.END);
    control.compare(POSITION, RAX);
    control.jumpBackIf(Condition.LESS, group);
    control.end();
  }

  private void load(int to, Field field) {
    control.load(to, FIELDS, field.offset());
  }

  private void add(int to, Field field) {
    control.add(to, FIELDS, field.offset());
  }

  private void call(Field function) {
    load(RAX, function);
    control.call(RAX);
  }

  /** Keeps the parameters, and clears what sums up. */
  private void begin() {
    code.move(FIELDS, RDX);
    code.move(TABLE, RDI);
    store(Field.LIMITS, RSI);
    store(Field.END, RCX);
    store(Field.FIRST, R8);
    store(Field.PAGE_BYTES, R9);
    code.move(LAST, RCX);
    code.advance(LAST, -1);
    control.shiftRight(LAST, PAGE_BITS);
    control.constant(POSITION, 0);
    code.constant(0, Float.floatToRawIntBits(Float.NEGATIVE_INFINITY));
    code.vector(Operation.STORE_FLOATS, 0, 0, FIELDS, NO_INDEX, Field.MAXIMA.offset());
    code.vector(Operation.EXCLUSIVE_OR, 0, 0, 0);
    load(RAX, Field.TOTALS);
    for (int row = 0; row < AttentionCode.MOST_ROWS; row++) {
      code.vector(Operation.STORE_FLOATS, 0, 0, RAX, NO_INDEX, row * VECTOR_BYTES);
    }
  }

  private void store(Field field, int from) {
    control.store(FIELDS, field.offset(), from);
  }

  /** The address of a page whose place in the table is in a register, in that register. */
  private void address(int register) {
    control.loadInt(register, TABLE, register, 0);
    control.multiply(register, FIELDS, Field.PAGE_BYTES.offset());
    add(register, Field.FIRST);
  }

  /** The address of the group's page {@code i}, or of the last page. */
  private void addressOf(int i, int register) {
    code.move(register, PAGE);
    code.advance(register, i);
    control.compare(register, LAST);
    control.moveIf(Condition.GREATER, register, LAST);
    address(register);
  }

  /** Queries times the keys of the group. */
  private void score() {
    for (int i = 0; i < AttentionCode.STREAMS.length; i++) {
      addressOf(i, AttentionCode.STREAMS[i]);
    }
    control.constant(R8, layout.keySteps());
    load(R9, Field.QUERIES);
    load(RAX, Field.SCORES);
    control.put(SEVENTH, RAX);
    load(R10, Field.PRODUCTS);
    load(R11, Field.HALF_PRODUCTS);
    code.move(RAX, LAST);
    control.subtract(RAX, PAGE);
    control.compareWith(RAX, PAGES / 2);
    control.moveIf(Condition.LESS, R10, R11);
    control.call(R10);
  }

  /** Copies the scales of one of the group's pages; 0 where there is no position. */
  private void readScales(int i) {
    addressOf(i, R10);
    code.advance(R10, Math.toIntExact(layout.scalesAt()));
    load(R11, Field.END);
    control.subtract(R11, POSITION);
    code.advance(R11, -i * PageLayout.POSITIONS);
    control.notNegative(R11, RAX);
    control.atMost(R11, PageLayout.POSITIONS, RAX);
    control.onesInRdx();
    control.maskFromRdx();
    for (Field scales : new Field[] {Field.KEY_SCALES, Field.VALUE_SCALES}) {
      code.maskedOrZero(Operation.LOAD_FLOATS, 1, 0, R10);
      load(RAX, scales);
      code.vector(Operation.STORE_FLOATS, 0, 0, RAX, NO_INDEX, i * VECTOR_BYTES);
      code.advance(R10, VECTOR_BYTES);
    }
  }

  /** Makes every row's scores its weights. */
  private void weighRows() {
    control.constant(ROW, 0);
    int next = code.position();
    ofScores();
    control.loadInt(R8, FIELDS, ROW, Field.MAXIMA.offset());
    call(Field.LARGEST);
    code.move(MAX, RAX);
    control.loadInt(RCX, FIELDS, ROW, Field.MAXIMA.offset());
    control.compareFloats(MAX, RCX);
    int notLarger = control.jumpAheadIf(Condition.BELOW_OR_EQUAL);
    control.storeInt(FIELDS, ROW, Field.MAXIMA.offset(), MAX);
    control.constant(RAX, Float.floatToRawIntBits(Float.NEGATIVE_INFINITY));
    control.compareInts(RCX, RAX);
    int first = control.jumpAheadIf(Condition.EQUAL);
    scale();
    code.land(first);
    code.land(notLarger);
    load(RAX, Field.TOTALS);
    code.move(R10, ROW);
    control.shiftLeft(R10, TOTAL_BITS);
    code.add(RAX, R10);
    control.put(SEVENTH, RAX);
    control.put(EIGHTH, MAX);
    ofScores();
    load(R8, Field.VALUE_SCALES);
    load(R9, Field.WEIGHTS);
    code.move(R10, ROW);
    control.shiftLeft(R10, ROW_BITS);
    code.add(R9, R10);
    call(Field.EXPONENTIALS);
    code.advance(ROW, 1);
    load(RAX, Field.COUNT);
    control.compare(ROW, RAX);
    control.jumpBackIf(Condition.LESS, next);
  }

  /** The first four parameters of functions of a row's scores. */
  private void ofScores() {
    load(RSI, Field.END);
    control.subtract(RSI, POSITION);
    code.advance(RSI, PageLayout.POSITIONS - 1);
    control.shiftRight(RSI, PAGE_BITS); // vectors have as many lanes as pages have positions
    control.atMost(RSI, PAGES, RAX);
    load(R10, Field.LIMITS);
    control.loadInt(R11, R10, ROW, 0);
    control.subtract(R11, POSITION);
    control.notNegative(R11, RAX);
    control.atMost(R11, GROUP, RAX);
    control.onesInRdx();
    load(RDI, Field.SCORES);
    code.move(R10, ROW);
    control.shiftLeft(R10, ROW_BITS);
    code.add(RDI, R10);
    load(RCX, Field.KEY_SCALES);
  }

  /** Makes a row's total and sums smaller; its largest score was in rcx, and is in MAX. */
  private void scale() {
    code.move(RDI, RCX);
    code.move(RSI, MAX);
    call(Field.FACTOR);
    control.put(FACTOR, RAX);
    load(RDI, Field.TOTALS);
    code.move(R10, ROW);
    control.shiftLeft(R10, TOTAL_BITS);
    code.add(RDI, R10);
    control.constant(RSI, 1);
    control.get(RDX, FACTOR);
    call(Field.SCALE);
    code.move(RDI, ROW);
    control.multiply(RDI, sumBytes);
    add(RDI, Field.SUMS);
    control.constant(RSI, sumBytes / VECTOR_BYTES);
    control.get(RDX, FACTOR);
    call(Field.SCALE);
  }

  /** Adds the group's values times their weights. */
  private void mix() {
    int together = layout.format().inputsTogether();
    code.move(PAGE, POSITION);
    control.shiftRight(PAGE, PAGE_BITS);
    int next = code.position();
    code.move(VALUES, PAGE);
    address(VALUES);
    load(R10, Field.REPLACED);
    load(R11, Field.REPLACEMENT);
    control.compare(PAGE, R10);
    control.moveIf(Condition.EQUAL, VALUES, R11);
    code.advance(VALUES, Math.toIntExact(layout.keyBytes()));
    addressOf(PAGES, RAX);
    control.put(NEXT, RAX);
    code.move(R10, PAGE);
    control.shiftLeft(R10, PAGE_BITS);
    load(RAX, Field.END);
    control.subtract(RAX, R10);
    control.atMost(RAX, PageLayout.POSITIONS, R11);
    code.advance(RAX, together - 1);
    control.shiftRight(RAX, Integer.numberOfTrailingZeros(together));
    control.put(STEPS, RAX);
    for (int from = 0; from < sumBytes; from += callBytes) {
      mixture(from);
    }
    code.advance(PAGE, 1);
    control.compare(PAGE, LAST);
    int done = control.jumpAheadIf(Condition.GREATER);
    code.move(RAX, PAGE);
    control.shiftLeft(RAX, PAGE_BITS);
    control.subtract(RAX, POSITION);
    control.compareWith(RAX, GROUP);
    control.jumpBackIf(Condition.LESS, next);
    code.land(done);
  }

  /** Adds some of a page's values, from a byte of each on. */
  private void mixture(int from) {
    code.move(RDI, VALUES);
    code.advance(RDI, from);
    control.get(RSI, NEXT);
    code.advance(RSI, from);
    control.get(R8, STEPS);
    code.move(R9, PAGE);
    control.shiftLeft(R9, PAGE_BITS);
    control.subtract(R9, POSITION);
    control.shiftLeft(R9, 2);
    add(R9, Field.WEIGHTS);
    load(RAX, Field.SUMS);
    code.advance(RAX, from);
    control.put(SEVENTH, RAX);
    load(R10, Field.MIXTURES);
    load(R11, Field.FIRST_MIXTURES);
    control.compareWith(PAGE, 0);
    control.moveIf(Condition.EQUAL, R10, R11);
    control.call(R10);
  }
}
