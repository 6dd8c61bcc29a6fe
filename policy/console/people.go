package console

func (s *server) peopleRoutes() {}
