package org.eellm.kernel;

import org.eellm.kernel.assembler.Assembler;
import org.eellm.kernel.assembler.Gp;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Memory;
import org.eellm.kernel.assembler.Vector;
import org.eellm.kernel.vector.NativeNumbers;

/**
 * Machine code that goes through the positions of a sequence, a group at a time, and calls the
 * functions of {@link AttentionCode}: {@code f(pages, limits, fields, end, first, pageBytes,
 * window, begin)}. As a loop in Java it is some ten calls a page, and the JVM's compiler works on
 * it for a tenth of a second while the first tokens come.
 *
 * <p>{@code pages} and {@code limits} are addresses of ints, and {@code fields} of what {@link
 * Field} names. {@code end} is the last row's limit; {@code first} and {@code pageBytes} tell where
 * pages are. {@code window} is how many positions rows see at most, where the function knows
 * windows. A call may stop at the end of a group, and the next go on there: {@code begin} is that
 * position, and 0 for the first call.
 */
final class AttentionLoop extends Assembler {
  private static final Vector FREE = vector(0);
  private static final int PAGE_BITS = Integer.numberOfTrailingZeros(PageLayout.POSITIONS);
  private static final int SCALE_BYTES = Float.BYTES * PageLayout.POSITIONS; // of a page's keys

  // General registers that functions leave alone.
  private static final Gp FIELDS = RBX;
  private static final Gp TABLE = RBP; // the pages' numbers
  private static final Gp POSITION = R12;
  private static final Gp LAST = R13; // page
  private static final Gp ROW = R14;
  private static final Gp PAGE = R14; // while there are no rows
  private static final Gp MAX = R15;
  private static final Gp VALUES = R15;

  // Places of the stack: parameters of what is called, and what calls leave alone.
  private static final int PLACES = 6;
  private static final Memory SEVENTH = at(RSP);
  private static final Memory EIGHTH = at(RSP, 8);
  private static final Memory FACTOR = at(RSP, 16);
  private static final Memory NEXT = at(RSP, 24);
  private static final Memory STEPS = at(RSP, 32);
  private static final Memory FIRST_PAGE = at(RSP, 40); // that the first row sees, with windows

  /** The loop's fields in memory, 8 bytes each. */
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

    static long bytes() {
      return MAXIMA.offset() + NativeNumbers.BYTES;
    }
  }

  private final PageLayout layout;
  private final int sumBytes;
  private final int callBytes; // of values that a mixture takes
  private final boolean hasWindows;
  private final int positions = PagedAttention.VECTORS * lanes(); // of a group
  private final int pages = positions / PageLayout.POSITIONS;
  private final int rowBits = Integer.numberOfTrailingZeros(4 * positions); // of scores
  private final int totalBits = Integer.numberOfTrailingZeros(vectorBytes());

  private AttentionLoop(PageLayout layout, int callBytes, boolean hasWindows, int vectorBits) {
    super(vectorBits);
    this.layout = layout;
    this.callBytes = callBytes;
    this.hasWindows = hasWindows;
    sumBytes = 4 * layout.valueWidth();
  }

  /**
   * The function.
   *
   * @param callBytes of a position's values that a mixture takes at once
   * @param hasWindows whether rows may not see the first positions
   */
  static MachineCode of(PageLayout layout, int callBytes, boolean hasWindows, int vectorBits) {
    return new AttentionLoop(layout, callBytes, hasWindows, vectorBits).write();
  }

  private MachineCode write() {
    enter(hasWindows ? PLACES : PLACES - 1);
    begin();
    Label group = here();
    mov(PAGE, POSITION);
    sar(PAGE, PAGE_BITS);
    score();
    if (layout.hasScales()) {
      for (int i = 0; i < pages; i++) {
        readScales(i);
      }
    }
    weighRows();
    mix();
    add(POSITION, positions);
    mov(RAX, field(Field.END));
    cmp(POSITION, RAX);
    jl(group);
    leave();
    return finish();
  }

  private static Memory field(Field field) {
    return at(FIELDS, field.offset());
  }

  /** The largest of a row's scores so far. */
  private static Memory maximum() {
    return at(FIELDS, ROW, Float.BYTES, Field.MAXIMA.offset());
  }

  private void call(Field function) {
    mov(RAX, field(function));
    call(RAX);
  }

  private void atMost(Gp register, int constant, Gp free) {
    mov(free, constant);
    cmp(register, free);
    cmovg(register, free);
  }

  /** Makes a register at least 0; changes another. */
  private void notNegative(Gp register, Gp free) {
    mov(free, 0);
    cmp(register, free);
    cmovl(register, free);
  }

  /** As many ones as {@code r11} says, in {@code rdx}; it says 64 at most. */
  private void onesInRdx() {
    mov(RDX, -1);
    bzhi(RDX, RDX, R11);
  }

  /** Keeps the parameters, and clears what sums up, unless an earlier call has. */
  private void begin() {
    mov(FIELDS, RDX);
    mov(TABLE, RDI);
    mov(field(Field.LIMITS), RSI);
    mov(field(Field.END), RCX);
    mov(field(Field.FIRST), R8);
    mov(field(Field.PAGE_BYTES), R9);
    mov(LAST, RCX);
    add(LAST, -1);
    sar(LAST, PAGE_BITS);
    if (hasWindows) {
      beginAtWindow();
    } else {
      mov(POSITION, 0);
    }
    mov(RAX, parameter(8));
    cmp(RAX, 0);
    cmovg(POSITION, RAX);
    Label goesOn = new Label();
    jg(goesOn);
    fillFloats(FREE, Float.NEGATIVE_INFINITY);
    vmovups(at(FIELDS, Field.MAXIMA.offset()), FREE);
    vpxord(FREE, FREE, FREE);
    mov(RAX, field(Field.TOTALS));
    for (int row = 0; row < AttentionCode.MOST_ROWS; row++) {
      vmovups(at(RAX, row * vectorBytes()), FREE);
    }
    bind(goesOn);
  }

  /** Begins with the group that has the first position of the first row. */
  private void beginAtWindow() {
    mov(R11D, at(RSI));
    subtractWindow(R11);
    notNegative(R11, RAX);
    sar(R11, PAGE_BITS);
    mov(FIRST_PAGE, R11);
    int groupBits = Integer.numberOfTrailingZeros(pages);
    sar(R11, groupBits);
    shl(R11, groupBits + PAGE_BITS);
    mov(POSITION, R11);
  }

  /** Subtracts from a register how many positions rows see at most; changes rax. */
  private void subtractWindow(Gp register) {
    mov(RAX, parameter(7));
    sub(register, RAX);
  }

  /** The address of a page whose place in the table is in a register, in that register. */
  private void address(Gp register) {
    mov(register.dword(), at(TABLE, register, 4, 0));
    imul(register, field(Field.PAGE_BYTES));
    add(register, field(Field.FIRST));
  }

  /** The address of the group's page {@code i}, or of the nearest one that is seen; changes r11. */
  private void addressOf(int i, Gp register) {
    mov(register, PAGE);
    add(register, i);
    cmp(register, LAST);
    cmovg(register, LAST);
    if (hasWindows) {
      mov(R11, FIRST_PAGE);
      cmp(register, R11);
      cmovl(register, R11);
    }
    address(register);
  }

  /** Queries times the keys of the group. */
  private void score() {
    for (int i = 0; i < pages; i++) {
      addressOf(i, AttentionCode.STREAMS[i]);
    }
    mov(R8, layout.keySteps());
    mov(R9, field(Field.QUERIES));
    mov(RAX, field(Field.SCORES));
    mov(SEVENTH, RAX);
    mov(R10, field(Field.PRODUCTS));
    mov(R11, field(Field.HALF_PRODUCTS));
    mov(RAX, LAST);
    sub(RAX, PAGE);
    cmp(RAX, pages / 2);
    cmovl(R10, R11);
    call(R10);
  }

  /** Copies the scales of one of the group's pages; 0 where there is no position. */
  private void readScales(int i) {
    addressOf(i, R10);
    add(R10, Math.toIntExact(layout.scalesAt()));
    mov(R11, field(Field.END));
    sub(R11, POSITION);
    add(R11, -i * PageLayout.POSITIONS);
    notNegative(R11, RAX);
    atMost(R11, PageLayout.POSITIONS, RAX);
    onesInRdx();
    for (int at = 0; at < SCALE_BYTES; at += vectorBytes()) {
      if (at > 0) {
        shr(RDX, lanes());
        add(R10, vectorBytes() - 2 * SCALE_BYTES);
      }
      maskOf(K1, EDX);
      for (Field scales : new Field[] {Field.KEY_SCALES, Field.VALUE_SCALES}) {
        load(K1, FREE, at(R10));
        mov(RAX, field(scales));
        vmovups(at(RAX, i * SCALE_BYTES + at), FREE);
        add(R10, SCALE_BYTES);
      }
    }
  }

  /** Makes every row's scores its weights. */
  private void weighRows() {
    mov(ROW, 0);
    Label next = here();
    ofScores();
    mov(R8D, maximum());
    call(Field.LARGEST);
    mov(MAX, RAX);
    mov(ECX, maximum());
    vmovd(FREE.xmm(), MAX.dword());
    vmovd(vector(1).xmm(), ECX);
    vcomiss(FREE.xmm(), vector(1).xmm());
    Label notLarger = new Label();
    jbe(notLarger);
    mov(maximum(), MAX.dword());
    mov(RAX, Float.floatToRawIntBits(Float.NEGATIVE_INFINITY));
    cmp(ECX, EAX);
    Label first = new Label();
    je(first);
    scale();
    bind(first);
    bind(notLarger);
    mov(RAX, field(Field.TOTALS));
    mov(R10, ROW);
    shl(R10, totalBits);
    add(RAX, R10);
    mov(SEVENTH, RAX);
    mov(EIGHTH, MAX);
    ofScores();
    mov(R8, field(Field.VALUE_SCALES));
    mov(R9, field(Field.WEIGHTS));
    mov(R10, ROW);
    shl(R10, rowBits);
    add(R9, R10);
    call(Field.EXPONENTIALS);
    add(ROW, 1);
    mov(RAX, field(Field.COUNT));
    cmp(ROW, RAX);
    jl(next);
  }

  /** The first four parameters of functions of a row's scores. */
  private void ofScores() {
    mov(RSI, field(Field.END));
    sub(RSI, POSITION);
    add(RSI, lanes() - 1);
    sar(RSI, Integer.numberOfTrailingZeros(lanes()));
    atMost(RSI, PagedAttention.VECTORS, RAX);
    mov(R10, field(Field.LIMITS));
    mov(R11D, at(R10, ROW, 4, 0));
    if (hasWindows) {
      mov(R9, R11);
      subtractWindow(R9);
    }
    onesUpToR11();
    if (hasWindows) {
      mov(R11, R9);
      mov(R9, RDX);
      onesUpToR11();
      sub(R9, RDX);
      mov(RDX, R9);
    }
    mov(RDI, field(Field.SCORES));
    mov(R10, ROW);
    shl(R10, rowBits);
    add(RDI, R10);
    mov(RCX, field(Field.KEY_SCALES));
  }

  /** Ones for the group's positions below what {@code r11} says, in {@code rdx}. */
  private void onesUpToR11() {
    sub(R11, POSITION);
    notNegative(R11, RAX);
    atMost(R11, positions, RAX);
    onesInRdx();
  }

  /** Makes a row's total and sums smaller; its largest score was in rcx, and is in MAX. */
  private void scale() {
    mov(RDI, RCX);
    mov(RSI, MAX);
    call(Field.FACTOR);
    mov(FACTOR, RAX);
    mov(RDI, field(Field.TOTALS));
    mov(R10, ROW);
    shl(R10, totalBits);
    add(RDI, R10);
    mov(RSI, 1);
    mov(RDX, FACTOR);
    call(Field.SCALE);
    mov(RDI, ROW);
    imul(RDI, RDI, sumBytes);
    add(RDI, field(Field.SUMS));
    mov(RSI, sumBytes / vectorBytes());
    mov(RDX, FACTOR);
    call(Field.SCALE);
  }

  /** Adds the group's values times their weights. */
  private void mix() {
    int together = layout.format().inputsTogether();
    mov(PAGE, POSITION);
    sar(PAGE, PAGE_BITS);
    if (hasWindows) {
      mov(R11, FIRST_PAGE);
      cmp(PAGE, R11);
      cmovl(PAGE, R11);
    }
    Label next = here();
    mov(VALUES, PAGE);
    address(VALUES);
    mov(R10, field(Field.REPLACED));
    mov(R11, field(Field.REPLACEMENT));
    cmp(PAGE, R10);
    cmove(VALUES, R11);
    add(VALUES, Math.toIntExact(layout.keyBytes()));
    addressOf(pages, RAX);
    mov(NEXT, RAX);
    mov(R10, PAGE);
    shl(R10, PAGE_BITS);
    mov(RAX, field(Field.END));
    sub(RAX, R10);
    atMost(RAX, PageLayout.POSITIONS, R11);
    add(RAX, together - 1);
    sar(RAX, Integer.numberOfTrailingZeros(together));
    mov(STEPS, RAX);
    for (int from = 0; from < sumBytes; from += callBytes) {
      mixture(from);
    }
    add(PAGE, 1);
    cmp(PAGE, LAST);
    Label done = new Label();
    jg(done);
    mov(RAX, PAGE);
    shl(RAX, PAGE_BITS);
    sub(RAX, POSITION);
    cmp(RAX, positions);
    jl(next);
    bind(done);
  }

  /** Adds some of a page's values, from a byte of each on. */
  private void mixture(int from) {
    mov(RDI, VALUES);
    add(RDI, from);
    mov(RSI, NEXT);
    add(RSI, from);
    mov(R8, STEPS);
    mov(R9, PAGE);
    shl(R9, PAGE_BITS);
    sub(R9, POSITION);
    shl(R9, 2);
    add(R9, field(Field.WEIGHTS));
    mov(RAX, field(Field.SUMS));
    add(RAX, from);
    mov(SEVENTH, RAX);
    mov(R10, field(Field.MIXTURES));
    mov(R11, field(Field.FIRST_MIXTURES));
    if (hasWindows) {
      mov(RAX, FIRST_PAGE);
      cmp(PAGE, RAX);
    } else {
      cmp(PAGE, 0);
    }
    cmove(R10, R11);
    call(R10);
  }
}
