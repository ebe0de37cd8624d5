package org.eellm.decode;

import org.eellm.model.Decoder;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.extension.ExtendWith;

/** What tests have that all ask one {@link SmallModel}; one thread is enough for it. */
@ExtendWith(OneThread.class)
abstract class WithSmallModel {
  static Decoder model;

  @BeforeAll
  static void makeModel() {
    model = SmallModel.plain();
  }

  @AfterAll
  static void closeModel() {
    model.close();
  }
}
