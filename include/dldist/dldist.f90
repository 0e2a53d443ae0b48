! dldist.f90 - dldist.h for Fortran 2008. Compile it with your program, whatever the compiler:
!
!   mpifort $(pkg-config --variable=includedir dldist)/dldist/dldist.f90 program.f90 $(pkg-config --libs dldist)
!
! What each function does is said in dldist.h. Objects are type(c_ptr); texts end with c_null_char: dl_text(text) gives them.
! A communicator is the handle of `use mpi`; of `use mpi_f08` it is communicator%MPI_VAL.
module dldist
  use, intrinsic :: iso_c_binding
  implicit none
  private :: c_length

  integer(c_int), parameter :: DL_OK = 0, DL_ERR_USAGE = 1, DL_ERR_DATA = 2, DL_ERR_TRAIN = 3, DL_ERR_STOPPED = 4, &
                               DL_ERR_SYSTEM = 5, DL_ERR_NOMEM = 6, DL_ERR_INTERNAL = 7
  integer(c_int), parameter :: DL_TRAIN = 0, DL_VALID = 1, DL_TEST = 2

  interface
    function dl_version() bind(c) result(text)
      import :: c_ptr
      type(c_ptr) :: text
    end function
    function dl_last_error() bind(c) result(text)
      import :: c_ptr
      type(c_ptr) :: text
    end function

    function dl_context_open(context) bind(c) result(status)
      import :: c_ptr, c_int
      type(c_ptr), intent(out) :: context
      integer(c_int) :: status
    end function
    function dl_context_open_fortran(communicator, context) bind(c) result(status)
      import :: c_ptr, c_int
      integer(c_int), value :: communicator
      type(c_ptr), intent(out) :: context
      integer(c_int) :: status
    end function
    subroutine dl_context_close(context) bind(c)
      import :: c_ptr
      type(c_ptr), intent(inout) :: context
    end subroutine
    function dl_context_rank(context) bind(c) result(rank)
      import :: c_ptr, c_int
      type(c_ptr), value :: context
      integer(c_int) :: rank
    end function
    function dl_context_size(context) bind(c) result(size)
      import :: c_ptr, c_int
      type(c_ptr), value :: context
      integer(c_int) :: size
    end function

    function dl_network_new(context, network) bind(c) result(status)
      import :: c_ptr, c_int
      type(c_ptr), value :: context
      type(c_ptr), intent(out) :: network
      integer(c_int) :: status
    end function
    subroutine dl_network_close(network) bind(c)
      import :: c_ptr
      type(c_ptr), intent(inout) :: network
    end subroutine
    function dl_network_load_config(network, path) bind(c) result(status)
      import :: c_ptr, c_int, c_char
      type(c_ptr), value :: network
      character(kind=c_char), intent(in) :: path(*)
      integer(c_int) :: status
    end function
    function dl_network_add(network, layer) bind(c) result(status)
      import :: c_ptr, c_int, c_char
      type(c_ptr), value :: network
      character(kind=c_char), intent(in) :: layer(*)
      integer(c_int) :: status
    end function
    function dl_network_set(network, key, value) bind(c) result(status)
      import :: c_ptr, c_int, c_char
      type(c_ptr), value :: network
      character(kind=c_char), intent(in) :: key(*), value(*)
      integer(c_int) :: status
    end function

    ! The arrays are kept by address until the network is closed: give them the attribute `target` and keep them alive.
    ! C's (samples, shape...) is (shape backwards..., samples) in Fortran. labels and y: c_loc(...) or c_null_ptr.
    function dl_network_set_data(network, split, samples, dims, shape, x, labels, y_size, y) bind(c) result(status)
      import :: c_ptr, c_int, c_int64_t
      type(c_ptr), value :: network, x, labels, y
      integer(c_int), value :: split, dims
      integer(c_int64_t), value :: samples, y_size
      integer(c_int64_t), intent(in) :: shape(*)
      integer(c_int) :: status
    end function

    function dl_network_train(network) bind(c) result(status)
      import :: c_ptr, c_int
      type(c_ptr), value :: network
      integer(c_int) :: status
    end function
    function dl_network_metric(network, split, metric, value) bind(c) result(status)
      import :: c_ptr, c_int, c_char, c_double
      type(c_ptr), value :: network
      integer(c_int), value :: split
      character(kind=c_char), intent(in) :: metric(*)
      real(c_double), intent(out) :: value
      integer(c_int) :: status
    end function
    function dl_network_predict(network, samples, x, scores) bind(c) result(status)
      import :: c_ptr, c_int, c_int64_t, c_float
      type(c_ptr), value :: network
      integer(c_int64_t), value :: samples
      real(c_float), intent(in) :: x(*)
      real(c_float), intent(out) :: scores(*)
      integer(c_int) :: status
    end function
    function dl_network_outputs(network) bind(c) result(outputs)
      import :: c_ptr, c_int64_t
      type(c_ptr), value :: network
      integer(c_int64_t) :: outputs
    end function
    function dl_network_rows(network) bind(c) result(rows)
      import :: c_ptr, c_int64_t
      type(c_ptr), value :: network
      integer(c_int64_t) :: rows
    end function
    function dl_network_weights_sha256(network, hex) bind(c) result(status)
      import :: c_ptr, c_int, c_char
      type(c_ptr), value :: network
      character(kind=c_char), intent(out) :: hex(65)
      integer(c_int) :: status
    end function
    function dl_network_save(network, folder) bind(c) result(status)
      import :: c_ptr, c_int, c_char
      type(c_ptr), value :: network
      character(kind=c_char), intent(in) :: folder(*)
      integer(c_int) :: status
    end function
    function dl_network_open(context, checkpoint, network) bind(c) result(status)
      import :: c_ptr, c_int, c_char
      type(c_ptr), value :: context
      character(kind=c_char), intent(in) :: checkpoint(*)
      type(c_ptr), intent(out) :: network
      integer(c_int) :: status
    end function
    function dl_train_config(context, config, folder) bind(c) result(status)
      import :: c_ptr, c_int, c_char
      type(c_ptr), value :: context
      character(kind=c_char), intent(in) :: config(*), folder(*)
      integer(c_int) :: status
    end function

    pure function c_length(text) bind(c, name='strlen') result(length)
      import :: c_ptr, c_size_t
      type(c_ptr), value :: text
      integer(c_size_t) :: length
    end function
  end interface

contains

  ! A text for C, without the blanks at its end.
  pure function dl_text(text) result(c_text)
    character(len=*), intent(in) :: text
    character(kind=c_char, len=len_trim(text) + 1) :: c_text
    c_text = trim(text)//c_null_char
  end function

  ! What the last failure was.
  function dl_error_text() result(text)
    character(len=:), allocatable :: text
    character(kind=c_char), pointer :: letters(:)
    type(c_ptr) :: message
    integer :: i
    message = dl_last_error()
    call c_f_pointer(message, letters, [c_length(message)])
    allocate (character(len=size(letters)) :: text)
    do i = 1, size(letters)
      text(i:i) = letters(i)
    end do
  end function
end module
