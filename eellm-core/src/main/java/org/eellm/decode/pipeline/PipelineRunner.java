package org.eellm.decode.pipeline;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.head.DraftOutput;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.Vocabulary;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/**
 * All of a model on the rank of its first pipeline stage: passes through the layers there, and has
 * the later stages pass theirs. Nothing is waited for but what heads predict: rows that go on to
 * fill in keys and values do so while this rank does something else.
 */
public final class PipelineRunner implements ModelRunner {
  private final ModelRunner first;
  private final Vocabulary vocabulary;
  private final StageLinks links;
  private final List<StagePart> parts = new ArrayList<>(); // by stage
  private final List<Head> heads;
  private final int[] stages; // by index of the head
  private int[] places = new int[64]; // the stage where the hidden state of a slot is

  /**
   * Starts runners on the other stages, which end with this one.
   *
   * @param first of the first stage's layers; closed with this
   */
  public PipelineRunner(ModelRunner first, Vocabulary vocabulary, StageLinks links) {
    this.first = first;
    this.vocabulary = vocabulary;
    this.links = links;
    List<Integer> questions = new ArrayList<>();
    for (int stage = 1; stage < links.stages(); stage++) {
      questions.add(
          links.ask(
              stage, question -> new StageCommand.Start(question, vocabulary, first.pages())));
    }
    parts.add(StagePart.of(first));
    questions.forEach(question -> parts.add(StagePart.decode(links.await(question))));
    List<Head> all = first.model().allHeads();
    heads = parts.stream().flatMap(part -> part.heads().stream()).map(all::get).toList();
    stages = new int[all.size()];
    for (int stage = 0; stage < parts.size(); stage++) {
      for (int head : parts.get(stage).heads()) {
        stages[head] = stage;
      }
    }
  }

  @Override
  public DecodingModel model() {
    return first.model();
  }

  @Override
  public int firstBranch() {
    return parts.getFirst().firstBranch();
  }

  @Override
  public int endBranch() {
    return parts.getLast().endBranch();
  }

  @Override
  public List<Head> heads() {
    return heads;
  }

  @Override
  public int stages() {
    return parts.size();
  }

  @Override
  public boolean isRemote(Head head) {
    return stage(head) > 0;
  }

  private int stage(Head head) {
    return stages[head.index()];
  }

  @Override
  public void keepAlive() {
    links.keepAlive();
  }

  @Override
  public int pages() {
    return first.pages();
  }

  @Override
  public int allocateSlot() {
    int slot = first.allocateSlot();
    if (slot >= places.length) {
      places = Arrays.copyOf(places, 2 * slot);
    }
    return slot;
  }

  @Override
  public void release(int slot) {
    first.release(slot);
  }

  @Override
  public void copy(int from, int to) {
    if (places[from] == 0) {
      first.copy(from, to);
    } else {
      links.send(places[from], new StageCommand.Copy(from, to));
    }
    places[to] = places[from];
  }

  @Override
  public int hiddenBytes() {
    return first.hiddenBytes();
  }

  @Override
  public void read(int slot, byte[] to, int at) {
    if (places[slot] == 0) {
      first.read(slot, to, at);
    } else {
      int question = links.ask(places[slot], number -> new StageCommand.Read(number, slot));
      links.await(question).get(to, at, hiddenBytes());
    }
  }

  @Override
  public void write(int slot, byte[] from, int at) {
    first.write(slot, from, at);
    places[slot] = 0;
  }

  /** Beam search alone forks texts, and has a runner of its own, of one rank. */
  @Override
  public void copyPage(int from, int to) {
    throw new UnsupportedOperationException("texts fork on one rank alone");
  }

  @Override
  public void embed(ForwardBatch rows, int[] ids) {
    first.embed(rows, ids);
    place(rows, 0);
  }

  private void place(ForwardBatch rows, int stage) {
    for (int row = 0; row < rows.rows(); row++) {
      places[rows.slot(row)] = stage;
    }
  }

  @Override
  public void run(int from, int to, ForwardBatch rows) {
    pass(from, to, rows, false);
  }

  @Override
  public void propagate(int from, int to, ForwardBatch rows) {
    pass(from, to, rows, true);
  }

  private void pass(int from, int to, ForwardBatch rows, boolean propagates) {
    for (int stage = 0; stage < parts.size(); stage++) {
      int begin = Math.max(from, parts.get(stage).firstBranch());
      int end = Math.min(to, parts.get(stage).endBranch());
      if (begin >= end) {
        continue;
      }
      move(rows, stage);
      if (stage > 0) {
        links.send(stage, new StageCommand.Pass(begin, end, propagates, rows));
      } else if (propagates) {
        first.propagate(begin, end, rows);
      } else {
        first.run(begin, end, rows);
      }
    }
  }

  /** Brings the hidden states of rows, which are together, to a stage. */
  private void move(ForwardBatch rows, int stage) {
    int place = places[rows.slot(0)];
    if (place == stage) {
      return;
    }
    int[] slots = new int[rows.rows()];
    Arrays.setAll(slots, rows::slot);
    if (place == 0) {
      int bytes = hiddenBytes();
      byte[] hidden = new byte[slots.length * bytes];
      for (int row = 0; row < slots.length; row++) {
        first.read(slots[row], hidden, row * bytes);
      }
      links.send(stage, new StageCommand.Write(slots, hidden));
    } else {
      links.send(place, new StageCommand.Send(stage, slots));
      links.send(stage, new StageCommand.Receive(place, slots));
    }
    place(rows, stage);
  }

  @Override
  public HeadOutput predict(Head head, ForwardBatch rows, int[] asked, int count) {
    int stage = stage(head);
    if (stage > 0) {
      return ask(head, HeadQuery.of(false, false), rows, asked, count);
    }
    RemoteOutput.Logits copy =
        RemoteOutput.Logits.of(first.predict(head, rows, asked, count), count);
    return new RemoteOutput(head, () -> copy);
  }

  @Override
  public HeadOutput draft(Head exit, ForwardBatch rows, int[] asked, int count) {
    int stage = stage(exit);
    if (stage == 0) {
      return first.draft(exit, rows, asked, count); // read at once, and never again
    }
    return ask(exit, HeadQuery.of(true, false), rows, asked, count);
  }

  @Override
  public HeadOutput ask(Head head, HeadQuery question, ForwardBatch rows, int[] asked, int count) {
    int stage = stage(head);
    if (stage == 0) {
      return ModelRunner.super.ask(head, question, rows, asked, count);
    }
    int[] some = Arrays.copyOf(asked, count);
    int number =
        links.ask(
            stage, next -> new StageCommand.Predict(next, head.index(), question, rows, some));
    HeadOutput answer = new RemoteOutput(head, links.answer(number));
    boolean listed =
        question.drafts() && !vocabulary.draftIds().isEmpty() && model().parallel().size() == 1;
    return listed
        ? new DraftOutput(
            answer,
            vocabulary.draftIds().stream().mapToInt(Integer::intValue).toArray(),
            vocabulary.size())
        : answer;
  }

  @Override
  public void close() {
    links.stop();
    first.close();
  }
}
